"""
What others write into an event store: ``python -m tests.support.foreign_events URI``.

Streams of all kinds of names, with events of other types, JSON and bytes, statistics
and links as the server's own, and streams that are cut, deleted and gone for good.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from contextlib import closing
from typing import Final
from uuid import uuid4

from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState

_ANY: Final = StreamState.ANY
_TYPES: Final = (
    *("OrderPlaced", "order-paid", "Größe", "$statsCollected"),
    # Like topics, yet no classes of anybody's.
    *("eventsourcing.domain:AggregateEvent", "missing.module:Order.Placed"),
)
_CATEGORIES: Final = ("order", "Customer", "a b", "x$y", "größe", "snapshot")


class ForeignWriter:
    """
    Writes what is none of an application's.

    Args:
        client: To the event store.
        seed: What is written in which order, apart from IDs.
    """

    def __init__(self, client: EventStoreDBClient, seed: int = 0) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._rounds = itertools.count()

    def write(self) -> int:
        """Write some more to a stream and return how many events that were."""
        number = next(self._rounds)
        stream = self._stream()
        events = [self._event(number) for _ in range(10)]
        self._append(stream, *events)
        if number % 5 == 0:
            self._append("$stats-127.0.0.1:2113", _json("$statsCollected", number))
            self._append("$ce-order", NewEvent("$>", f"0@{stream}".encode()))
        if number % 7 == 0:
            metadata = {"$maxCount": 5, "$acl": {"$r": "$all"}, "owner": "others"}
            self._client.set_stream_metadata(stream, metadata=metadata)
        if number % 11 == 0:
            self._client.delete_stream(stream, current_version=_ANY)
        if number % 13 == 0:
            gone = f"gone-{uuid4()}"
            self._append(gone, *events)
            self._client.tombstone_stream(gone, current_version=_ANY)
        return len(events)

    def _stream(self) -> str:
        name = self._random.choice([str(uuid4()), str(self._random.randrange(50))])
        return f"{self._random.choice(_CATEGORIES)}-{name}"

    def _event(self, number: int) -> NewEvent:
        if self._random.random() < 0.5:
            return _json(self._random.choice(_TYPES), number)
        data, metadata = self._random.randbytes(200), self._random.randbytes(20)
        return NewEvent(
            "Blob",
            data,
            metadata=metadata,
            content_type="application/octet-stream",
        )

    def _append(self, stream: str, *events: NewEvent) -> None:
        self._client.append_events(stream, current_version=_ANY, events=events)


def _json(event_type: str, number: int) -> NewEvent:
    metadata = {"$correlationId": str(uuid4())}
    return NewEvent(
        event_type,
        json.dumps({"number": number}).encode(),
        metadata=json.dumps(metadata).encode(),
    )


def main() -> None:
    """Write as many as the arguments say, then for ever if they say so."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.foreign_events", description=__doc__
    )
    parser.add_argument("uri")
    parser.add_argument("--count", type=int, default=5_000, help="events at the start")
    parser.add_argument(
        "--every", type=float, help="seconds from then on; else it ends"
    )
    options = parser.parse_args()
    with closing(EventStoreDBClient(options.uri)) as client:
        writer = ForeignWriter(client)
        written = 0
        while written < options.count:
            written += writer.write()
        while options.every:
            time.sleep(options.every)
            writer.write()


if __name__ == "__main__":
    main()
