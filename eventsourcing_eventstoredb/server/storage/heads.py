"""
Where streams are, as far as it is known by heart.

Each append asks where its stream is and whether that has metadata, which is another
stream. Few streams have any, so the names of those that do are known rather than looked
up: a new stream would else cost two questions that find nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from eventsourcing_eventstoredb.server.storage.metadata import is_metadata_stream
from eventsourcing_eventstoredb.server.storage.records import StreamState

# Of so many streams it is kept in memory how far they are, and of so many metadata
# streams that they exist.
MOST_HEADS: Final = 20_000


class Heads:
    """
    Where streams are; for those who write, since only they know when it changes.

    Args:
        metadata_streams: Names up to so many metadata streams.
    """

    def __init__(self, metadata_streams: Callable[[int], Iterable[str]]) -> None:
        # A dict would have to look for its first key past all that were deleted.
        self._states: OrderedDict[str, StreamState | None] = OrderedDict()
        # None when they are too many to be known. One that is here and was never
        # written, since it was rolled back, only costs a question.
        self._metadata_streams: set[str] | None = set()
        for name in metadata_streams(MOST_HEADS + 1):
            self._note_metadata_stream(name)

    def find(
        self, name: str, look_up: Callable[[str], StreamState | None]
    ) -> StreamState | None:
        """
        Tell where a stream is, or None when it was never written to.

        Args:
            name: The stream's name.
            look_up: Tells the same; called only where it is not known.
        """
        states = self._states
        if name in states:
            return states[name]
        known = self._metadata_streams
        if known is not None and is_metadata_stream(name) and name not in known:
            return None
        state = look_up(name)
        self.note(name, state)
        return state

    def note(self, name: str, state: StreamState | None) -> None:
        """Keep in mind where a stream is, and forget the one that was noted first."""
        states = self._states
        if name not in states and len(states) >= MOST_HEADS:
            states.popitem(last=False)
        states[name] = state
        if state is not None and is_metadata_stream(name):
            self._note_metadata_stream(name)

    def forget(self) -> None:
        """Forget where streams are, which was undone for some."""
        self._states.clear()

    def _note_metadata_stream(self, name: str) -> None:
        if self._metadata_streams is not None:
            self._metadata_streams.add(name)
            if len(self._metadata_streams) > MOST_HEADS:
                self._metadata_streams = None
