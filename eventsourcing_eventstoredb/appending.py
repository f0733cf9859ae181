"""Appends that are repeated safely, and what they raise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import grpc
from esdbclient import EventStoreDBClient, NewEvent, StreamState
from esdbclient.exceptions import (
    AccessDeniedError,
    GrpcError,
    MaximumAppendSizeExceededError,
    WrongCurrentVersion,
)
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    ProgrammingError,
    StoredEvent,
)

from eventsourcing_eventstoredb.protocol import calls
from eventsourcing_eventstoredb.protocol.errors import (
    client_errors,
    error_details,
    status_code,
)
from eventsourcing_eventstoredb.protocol.retrying import with_retries

# Seconds for one save with all its retries, where the connection string has no
# DefaultDeadline: the election of a leader fits in, and a request of a web site
# does not hang for ever.
DEFAULT_DEADLINE = 10.0

# What EventStoreDB's $tb is set to when a stream is deleted.
_DELETED_TRUNCATE_BEFORE = 2**63 - 1


def append(
    client: EventStoreDBClient,
    name: str,
    current_version: int | StreamState,
    events: Sequence[NewEvent],
) -> int:
    """
    Append events to a stream in one transaction, and return the last one's position.

    An attempt whose answer was lost is repeated with the same events. The server
    recognises them by their IDs, so they are written once.

    Args:
        client: Any esdbclient client.
        name: The stream's name.
        current_version: Position of the last event that must be there, or a state.
        events: At least one.

    Raises:
        IntegrityError: The stream is at another version, or is tombstoned.
        DataError: The server does not take so much at once.
        ProgrammingError: The server refuses, and would again.
        OperationalError: The time is over. The events may have been written, if
            an answer was lost.
    """
    if current_version is StreamState.NO_STREAM:
        subject = f"Appending {len(events)} event(s) to new stream {name!r}"
    else:
        subject = f"Appending {len(events)} event(s) to stream {name!r}"
    if isinstance(current_version, int):
        subject += f", expected to be at version {current_version}"

    def attempt(seconds: float) -> int:
        with client_errors(subject):
            try:
                return client.streams.batch_append(
                    stream_name=name,
                    current_version=current_version,
                    events=events,
                    timeout=seconds,
                    metadata=client._call_metadata,
                    credentials=client._call_credentials,
                )
            except WrongCurrentVersion as error:
                hint = ""
                if current_version == 0 and "does not exist" in str(error):
                    hint = (
                        ". EventStoreDB numbers from 0: set INITIAL_VERSION = 0 on the "
                        "aggregate class, or EVENTSTOREDB_FIRST_VERSION=1"
                    )
                msg = f"{subject}: {error}{hint}"
                raise IntegrityError(msg) from error
            except (MaximumAppendSizeExceededError, GrpcError) as error:
                # Beyond the limit of a message, the server does not even see it.
                if not _is_too_large(error):
                    raise
                size = sum(len(event.data) for event in events)
                details = error_details(error)
                msg = (
                    f"{subject}: {size} bytes are more than the server takes at once "
                    f"({details}); save less at once, or raise the server's "
                    "MaxAppendSize"
                )
                raise DataError(msg) from error

    return with_retries(client, attempt, deadline(client), reopens=True)


def deadline(client: EventStoreDBClient) -> float:
    """Return the seconds that one save may take with all its retries."""
    configured = client._default_deadline
    return DEFAULT_DEADLINE if configured is None else float(configured)


def check_not_deleted(client: EventStoreDBClient, name: str) -> None:
    """
    Refuse to begin an aggregate in a stream that was soft-deleted.

    EventStoreDB would accept the events and go on counting where the deleted
    ones ended, so they would lie at other versions than they say.

    Raises:
        IntegrityError: The stream was deleted.
        OperationalError: The server could not be asked.
    """
    request = calls.stream_request(f"$${name}", None, backwards=True, limit=1)

    def attempt(seconds: float) -> bytes:
        with client_errors(f"Reading metadata of stream {name!r}"):
            metadata = b""
            for message in calls.read_messages(client, request, seconds):
                if message.HasField("event"):
                    metadata = message.event.event.data
            return metadata

    try:
        metadata = with_retries(client, attempt, deadline(client), reopens=True)
    except ProgrammingError as error:
        # A user who may not read metadata can still append.
        if _is_access_denied(error.__cause__):
            return
        raise
    except IntegrityError:
        # Tombstoned: appending says so.
        return
    if _truncate_before(metadata) >= _DELETED_TRUNCATE_BEFORE:
        msg = (
            f"Stream {name!r} was deleted and its numbering goes on: an aggregate "
            "with this ID cannot begin again at its first version"
        )
        raise IntegrityError(msg)


def single_originator_id(stored_events: Sequence[StoredEvent]) -> UUID | str:
    """
    Return the ID of the one aggregate that the events are of.

    Raises:
        ProgrammingError: They are of several.
    """
    originator_ids = {event.originator_id for event in stored_events}
    if len(originator_ids) > 1:
        msg = (
            f"Cannot save {len(originator_ids)} aggregates at once: EventStoreDB "
            "writes to one stream in a transaction; save them one by one"
        )
        raise ProgrammingError(msg)
    return originator_ids.pop()


def check_versions(stored_events: Sequence[StoredEvent], lowest: int) -> None:
    """
    Check that versions follow one another.

    Args:
        stored_events: The events of one aggregate.
        lowest: The version of an aggregate's first event.

    Raises:
        IntegrityError: There is a gap, or a version below the lowest.
    """
    first = stored_events[0].originator_version
    for version, event in enumerate(stored_events, start=first):
        if event.originator_version != version:
            msg = (
                f"Events of {event.originator_id} have a gap: version "
                f"{event.originator_version} where {version} has to be"
            )
            raise IntegrityError(msg)
    if first < lowest:
        msg = (
            f"Events of {stored_events[0].originator_id} begin at version {first}, "
            f"but the lowest is {lowest}"
        )
        raise IntegrityError(msg)


def _truncate_before(metadata: bytes) -> int:
    try:
        value = json.loads(metadata).get("$tb", 0)
    except (ValueError, AttributeError):
        return 0
    return value if isinstance(value, int) else 0


def _is_too_large(error: Exception) -> bool:
    return (
        isinstance(error, MaximumAppendSizeExceededError)
        or status_code(error) is grpc.StatusCode.RESOURCE_EXHAUSTED
    )


def _is_access_denied(error: BaseException | None) -> bool:
    return (
        isinstance(error, AccessDeniedError)
        or status_code(error) is grpc.StatusCode.PERMISSION_DENIED
    )
