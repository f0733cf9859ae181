"""How large an append may be, in data and in all that it has."""

from __future__ import annotations

from typing import Final

from eventsourcing_eventstoredb.server.errors import MaximumAppendSizeError
from eventsourcing_eventstoredb.server.storage.records import NewEvent

MAX_APPEND_BYTES: Final = 1024 * 1024

# As in 23.10 only the data count for that, so metadata, types and the number of empty
# events need another limit: all is in memory until the append is complete.
MAX_WHOLE_BYTES: Final = 16 * MAX_APPEND_BYTES

# Of each event, and of each append that is begun.
_OVERHEAD = 256


class AppendSize:
    """
    The size of an append that is being received.

    Args:
        stream: The stream's name, as it came.
        max_data: The most bytes that the data of all its events may have.

    Attributes:
        whole: Bytes of all that it has until now.
    """

    def __init__(self, stream: bytes, max_data: int = MAX_APPEND_BYTES) -> None:
        self._max_data = max_data
        self.whole = len(stream) + _OVERHEAD
        self._data = 0

    def add(self, event: NewEvent) -> None:
        """
        Count an event.

        Raises:
            MaximumAppendSizeError: The append is too large.
        """
        self._data += len(event.data)
        self.whole += (
            len(event.data) + len(event.custom_metadata) + len(event.type) + _OVERHEAD
        )
        if self._data > self._max_data:
            raise MaximumAppendSizeError(self._max_data)
        if self.whole > MAX_WHOLE_BYTES:
            raise MaximumAppendSizeError(MAX_WHOLE_BYTES)
