"""
Beginning aggregates in streams that are new, and telling when they are not.

EventStoreDB goes on counting in a stream that was deleted. It would accept an
aggregate's first events, and they would lie at other positions than their versions say.
"""

from __future__ import annotations

import json
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    PersistenceError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.appending import deadline, with_save_retries
from eventsourcing_eventstoredb.protocol import calls, messages, saving
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import (
    client_errors,
)
from eventsourcing_eventstoredb.protocol.proposals import Appended
from eventsourcing_eventstoredb.protocol.retrying import with_retries
from eventsourcing_eventstoredb.text import counted

# What EventStoreDB's $tb is set to when a stream is deleted.
_DELETED_TRUNCATE_BEFORE = 2**63 - 1

# Versions of UUIDs of a moment or at random, so that no stream had them before.
_UNIQUE_VERSIONS = (1, 4, 6, 7)
_UUID_LENGTH = 36


def check_new(
    client: EventStoreDBClient, originator_id: UUID | str, name: str, count: int
) -> None:
    """
    Refuse to begin an aggregate in a stream that has events, or had them.

    Nothing is asked where the ID was just made. Otherwise the server is asked each
    time, since any process may have deleted the stream a moment ago; the question
    travels like the append that follows it.

    Args:
        client: Any esdbclient client.
        originator_id: The aggregate's ID.
        name: The stream's name.
        count: How many events are to be appended.

    Raises:
        IntegrityError: The stream exists, or was deleted.
        OperationalError: The server could not be asked.
    """
    if not is_unique(originator_id):
        check_no_stream(client, name, count)


def check_no_stream(client: EventStoreDBClient, name: str, count: int) -> None:
    """
    Ask the server whether a stream has events, or had them, and refuse if it does.

    Args:
        client: Any esdbclient client.
        name: The stream's name.
        count: How many events are to be appended.

    Raises:
        IntegrityError: The stream exists, or was deleted.
        OperationalError: The server could not be asked.
    """

    def attempt(seconds: float) -> int | None:
        with client_errors(f"Looking for the end of stream {name!r}"):
            return saving.last_position(client, name, seconds)

    try:
        last = with_save_retries(client, attempt)
    except (IntegrityError, ProgrammingError):
        # Tombstoned, or not allowed: the append is told so as well.
        return
    if last is None:
        return
    if _is_deleted(client, name):
        msg = (
            f"Stream {name!r} was deleted and its numbering continues: an aggregate "
            "with this ID cannot begin again at its first version"
        )
    else:
        msg = (
            f"Appending {counted(count, 'event', 'events')} to new stream {name!r}: "
            f"the stream's last event is {last}"
        )
    raise IntegrityError(msg)


def is_unique(originator_id: UUID | str) -> bool:
    """Tell whether an ID, or the end of one, is a UUID that nothing had before."""
    if isinstance(originator_id, str):
        try:
            originator_id = UUID(originator_id[-_UUID_LENGTH:])
        except ValueError:
            return False
    return originator_id.version in _UNIQUE_VERSIONS


def check_begun(name: str, appended: Appended, count: int, first_version: int) -> None:
    """
    Check that the first events of an aggregate lie where a stream begins.

    Args:
        name: The stream's name.
        appended: Where they lie.
        count: How many they are.
        first_version: The version of the first one.

    Raises:
        IntegrityError: They do not, since the stream was deleted before.
    """
    last = appended.stream_position
    if last < count:
        return
    on = f"of version {first_version} on now"
    written = counted(count, f"event {on} lies", f"events {on} lie")
    msg = (
        f"Stream {name!r} was deleted and its numbering continues: the {written} at "
        f"position {last - count + 1} on, where they cannot be read as this "
        "aggregate; delete the stream again, and give the aggregate another ID"
    )
    raise IntegrityError(msg)


def _is_deleted(client: EventStoreDBClient, name: str) -> bool:
    """Tell whether a stream that had events was soft-deleted; only errors need it."""
    request = messages.stream_request(f"$${name}", None, backwards=True, limit=1)

    def attempt(seconds: float) -> bytes:
        with client_errors(f"Reading metadata of stream {name!r}"):
            metadata = b""
            for message in calls.read_messages(
                client, request, seconds, from_leader=True
            ):
                if message.HasField("event"):
                    metadata = message.event.event.data
            return metadata

    try:
        metadata = with_retries(
            client, attempt, deadline(client), reopens=True, from_leader=True
        )
    except PersistenceError:
        # A user who may not read metadata can still append.
        return False
    return _truncate_before(metadata) >= _DELETED_TRUNCATE_BEFORE


def _truncate_before(metadata: bytes) -> int:
    try:
        value = json.loads(metadata).get("$tb", 0)
    except (ValueError, AttributeError):
        return 0
    return value if isinstance(value, int) else 0
