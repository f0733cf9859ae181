"""How many events a stream keeps, as its metadata say to EventStoreDB."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict

from eventsourcing.persistence import (
    IntegrityError,
    PersistenceError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.encoding.content_types import JSON
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent, StreamState
from eventsourcing_eventstoredb.streams import appending, stream_metadata
from eventsourcing_eventstoredb.streams.reading import read_stream
from eventsourcing_eventstoredb.text import named_line

logger = logging.getLogger("eventsourcing_eventstoredb")

# Streams of which it is remembered that they were seen to.
_MOST_REMEMBERED = 10_000
# How often another process may change the same metadata meanwhile.
_ATTEMPTS = 3


class MaxCount:
    """
    Has streams keep their last events only; for all threads.

    A stream is seen to once for each process. What else its metadata say is kept.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        count: How many events a stream keeps, at least 1.
    """

    def __init__(self, client: EventStoreDBClient, count: int) -> None:
        self.client = client
        self.count = count
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def see_to(self, name: str) -> None:
        """
        Have a stream that has events keep its last ones only.

        Blocks for one or two round trips if it is the first time. Where it cannot be
        done, a warning says so, and the stream keeps all. It is tried again with the
        next event if that may help.

        Args:
            name: The stream's name.
        """
        with self._lock:
            if name in self._seen:
                return
        try:
            is_done = self._write(name)
        except PersistenceError as error:
            log(
                logger,
                logging.WARNING,
                "A stream keeps more events than it should, since its metadata cannot "
                "be set",
                stream=name,
                max_count=self.count,
                reason=named_line(error),
            )
            # What the server refuses it would refuse again.
            is_done = isinstance(error, ProgrammingError)
        if is_done:
            with self._lock:
                self._seen[name] = None
                if len(self._seen) > _MOST_REMEMBERED:
                    self._seen.popitem(last=False)

    def _write(self, name: str) -> bool:
        """Set it if it is not set; return whether that is all there is to do."""
        metadata_stream = stream_metadata.metadata_stream(name)
        attempts = _ATTEMPTS
        while True:
            last = read_stream(
                self.client, metadata_stream, None, desc=True, limit=1, from_leader=True
            )
            content = stream_metadata.parse(last[0].data) if last else {}
            if content.get(stream_metadata.MAX_COUNT) == self.count:
                return True
            if stream_metadata.is_deleted(content):
                # The server has yet to say that the stream is not deleted any more; to
                # repeat it would delete the stream again.
                return False
            content[stream_metadata.MAX_COUNT] = self.count
            event = ProposedEvent(
                type="$metadata", data=json.dumps(content).encode(), content_type=JSON
            )
            expected = int(last[0].stream_revision) if last else StreamState.NO_STREAM
            try:
                appending.append(self.client, metadata_stream, expected, [event])
            except IntegrityError:
                attempts -= 1
                if not attempts:
                    raise
            else:
                return True
