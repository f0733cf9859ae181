"""
Snapshots in their streams, where the last one is the latest.

The library, and other packages that read the same store, take the last snapshot of a
stream for the latest. So an older one is never appended behind a newer one, however
many processes take snapshots at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent

from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.proposals import StreamState
from eventsourcing_eventstoredb.streams import appending, mapping
from eventsourcing_eventstoredb.streams.reading import read_stream

logger = logging.getLogger("eventsourcing_eventstoredb")

# Snapshots that are read at first where one of a certain version is looked for, and how
# many times as many each time after that: most are of versions that were not long ago.
_FIRST_PAGE = 4
_GROWTH = 4


def select(
    client: EventStoreDBClient,
    originator_id: UUID | str,
    name: str,
    *,
    lowest: int,
    highest: int,
    desc: bool,
    limit: int,
) -> list[StoredEvent]:
    """
    Select an aggregate's snapshots by the version in their metadata, which only grows.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        originator_id: The aggregate's ID.
        name: The name of its snapshots' stream.
        lowest: Lowest version to return.
        highest: Highest version to return.
        desc: Highest version first.
        limit: Most snapshots to return.

    Raises:
        DataError: The metadata of one do not say its version.
        OperationalError: The read was cut short.
    """
    selected: list[StoredEvent] = []
    found: Iterator[Any] | list[Any]
    if not desc or (highest == sys.maxsize and not lowest):
        # The latest snapshot is what is asked for most: read just that one.
        found = read_stream(
            client, name, None, desc=desc, limit=limit if desc else sys.maxsize
        )
    else:
        found = _backwards(client, name)
    for recorded in found:
        snapshot = mapping.stored_snapshot(originator_id, recorded)
        version = snapshot.originator_version
        if version < lowest if desc else version > highest:
            break
        if lowest <= version <= highest:
            selected.append(snapshot)
        if len(selected) == limit:
            break
    return selected


def append(
    client: EventStoreDBClient,
    name: str,
    snapshots: Sequence[StoredEvent],
    *,
    marks_json: bool,
) -> int | None:
    """
    Append snapshots unless there is a later one, which has to stay the last.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        name: The name of the snapshots' stream.
        snapshots: At least one, of one aggregate.
        marks_json: Whether those that are JSON are marked as such.

    Returns:
        The commit position of the last one, None if there is a later one.

    Raises:
        IntegrityError: The stream is tombstoned.
        DataError: The server does not take so much at once.
        ProgrammingError: The server refuses.
        OperationalError: The server could not be asked, or did not answer in time.
    """
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.originator_version)
    events = [
        mapping.proposed_event(
            snapshot,
            mapping.version_metadata(snapshot.originator_version),
            marks_json=marks_json,
        )
        for snapshot in ordered
    ]
    end: int | None = None
    while True:
        last = read_stream(client, name, None, desc=True, limit=1, from_leader=True)
        if last:
            # One that does not say its version is none that could be hidden.
            version = mapping.version_in_metadata(last[0].custom_metadata)
            if version is not None and version > ordered[0].originator_version:
                log(
                    logger,
                    logging.INFO,
                    "A snapshot is not kept, since there is a later one",
                    stream=name,
                    originator_version=ordered[0].originator_version,
                    latest=version,
                )
                return None
            end = int(last[0].stream_revision)
        expected = StreamState.NO_STREAM if end is None else end
        try:
            return appending.append(client, name, expected, events).commit_position
        except IntegrityError as error:
            # Another process has appended one meanwhile, or what is there cannot be
            # seen, since it was truncated.
            end = appending.other_position(error)
            if end is None:
                raise


def _backwards(client: EventStoreDBClient, name: str) -> Iterator[Any]:
    """Read a stream from its end on, in pages that grow."""
    position: int | None = None
    size = _FIRST_PAGE
    while True:
        page = read_stream(client, name, position, desc=True, limit=size)
        yield from page
        if len(page) < size or page[-1].stream_revision == 0:
            return
        position = page[-1].stream_revision - 1
        size *= _GROWTH
