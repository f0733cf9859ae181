"""
Beginning aggregates in streams that are new, and telling when they are not.

EventStoreDB continues counting in a stream that was deleted. It accepts an aggregate's
first events, and they lie at other positions than their versions say. No expected
version tells such a stream from a new one, so nothing that travels with the append can
refuse it. What is known before prevents it; otherwise the answer to the append tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    PersistenceError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.protocol import calls, messages, saving
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import (
    client_errors,
)
from eventsourcing_eventstoredb.protocol.proposals import (
    Appended,
    ProposedEvent,
    StreamState,
)
from eventsourcing_eventstoredb.protocol.retrying import with_retries
from eventsourcing_eventstoredb.streams import stream_metadata
from eventsourcing_eventstoredb.streams.appending import (
    append,
    deadline,
    with_save_retries,
)
from eventsourcing_eventstoredb.streams.used_names import used_names
from eventsourcing_eventstoredb.text import counted
from eventsourcing_eventstoredb.topics.id_types import is_unique


def begin(
    client: EventStoreDBClient,
    originator_id: UUID | str,
    name: str,
    events: Sequence[ProposedEvent],
    first_version: int,
) -> Appended:
    """
    Append an aggregate's first events to a new stream.

    Where the ID was made from a name, the server is asked first where the stream ends
    if this process has seen that it had events, or if this is the client's first save,
    which has to connect anyhow. Else nothing is asked, and the answer tells.

    Args:
        client: Any esdbclient client.
        originator_id: The aggregate's ID.
        name: The stream's name.
        events: At least one.
        first_version: The version of the first one.

    Raises:
        IntegrityError: The stream exists, or was deleted. If the message says where
            the events lie now, they were written.
        DataError, ProgrammingError, OperationalError: As appending raises them.
    """
    if is_unique(originator_id):
        return _begin(client, name, events, first_version)
    names = used_names(client)
    try:
        if names.call_for_a_question(client, name):
            check_no_stream(client, name, len(events))
        return _begin(client, name, events, first_version)
    finally:
        # Whatever has become of it: it is used now, or was, or may be.
        names.remember(name)


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


def _begin(
    client: EventStoreDBClient,
    name: str,
    events: Sequence[ProposedEvent],
    first_version: int,
) -> Appended:
    """Append, and check that the events lie where a stream begins."""
    appended = append(client, name, StreamState.NO_STREAM, events)
    last, count = appended.stream_position, len(events)
    if last < count:
        return appended
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
    request = messages.stream_request(
        stream_metadata.metadata_stream(name), None, backwards=True, limit=1
    )

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
    return stream_metadata.is_deleted(stream_metadata.parse(metadata))
