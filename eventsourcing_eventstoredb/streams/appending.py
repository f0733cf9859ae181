"""Appends that are repeated safely, and what they raise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    ProgrammingError,
    StoredEvent,
)

from eventsourcing_eventstoredb.protocol import saving
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.errors import (
    CallError,
    Reason,
    client_errors,
)
from eventsourcing_eventstoredb.protocol.proposals import (
    Appended,
    ProposedEvent,
    StreamState,
)
from eventsourcing_eventstoredb.protocol.retrying import SAVE_ATTEMPT, with_retries
from eventsourcing_eventstoredb.streams.mapping import HIDDEN_STREAM_PREFIXES
from eventsourcing_eventstoredb.streams.reading import read_stream
from eventsourcing_eventstoredb.text import counted, quoted

T = TypeVar("T")

# Seconds for one save with all its retries, where the connection string has no
# DefaultDeadline: the election of a leader fits in, and a request of a web site
# does not hang for ever.
DEFAULT_DEADLINE = 10.0

_FIRST_VERSION_HINT = (
    ". EventStoreDB numbers from 0: set INITIAL_VERSION = 0 on the aggregate class, "
    "or EVENTSTOREDB_FIRST_VERSION=1"
)


def append(
    client: EventStoreDBClient,
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
) -> Appended:
    """
    Append events to a stream in one transaction, and return where the last one lies.

    An attempt whose answer was lost is repeated with the same events. The server
    recognises them by their IDs, so they are written once.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
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

    def attempt(seconds: float) -> Appended:
        try:
            return saving.append(client, name, current_version, events, seconds)
        except Exception as error:
            # Not before: most saves succeed, and need no words.
            subject = _subject(name, current_version, len(events))
            with client_errors(subject):
                if isinstance(error, CallError):
                    return _refused(
                        client, name, current_version, events, error, subject
                    )
                raise

    return with_save_retries(client, attempt)


def _subject(name: str, current_version: int | StreamState, count: int) -> str:
    """Say what was being done."""
    new = "new " if current_version is StreamState.NO_STREAM else ""
    subject = f"Appending {counted(count, 'event', 'events')} to {new}stream {name!r}"
    if isinstance(current_version, int):
        subject += f", expected to be at version {current_version}"
    return subject


def _refused(
    client: EventStoreDBClient,
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
    error: CallError,
    subject: str,
) -> Appended:
    """
    Return where events lie that were refused since they are there already.

    Raises:
        IntegrityError, DataError: In words of their own.
        CallError: The same error, where there are none.
    """
    if error.reason is Reason.WRONG_VERSION:
        if current_version is StreamState.NO_STREAM:
            appended = _appended_before(client, name, events, error)
            if appended is not None:
                return appended
        hint = ""
        if current_version == 0 and "does not exist" in error.details:
            hint = _FIRST_VERSION_HINT
        msg = f"{subject}: {error.details}{hint}"
        raise IntegrityError(msg) from error
    if error.reason is Reason.TOO_LARGE:
        size = sum(len(event.data) for event in events)
        msg = (
            f"{subject}: {size} bytes are more than the server takes at "
            f"once ({error.details}); save less at once, or raise this "
            "limit of the server"
        )
        raise DataError(msg) from error
    raise error


def _appended_before(
    client: EventStoreDBClient,
    name: str,
    events: Sequence[ProposedEvent],
    refused: CallError,
) -> Appended | None:
    """
    Return where events lie that a stream has already, None if it has others.

    The server recognises what it has at the positions where a new stream begins. Where
    the stream was deleted before, and the answer to the first attempt was lost, they
    lie behind what was deleted, and are the first that can be read.
    """
    if refused.last_position is None or refused.last_position < len(events):
        return None
    try:
        found = read_stream(
            client, name, None, desc=False, limit=len(events), from_leader=True
        )
    except ProgrammingError:
        # Who may not read can append.
        return None
    if [each.id.string for each in found] != [str(event.id) for event in events]:
        return None
    return Appended(found[-1].stream_revision, found[-1].commit_position)


def with_save_retries(client: EventStoreDBClient, attempt: Callable[[float], T]) -> T:
    """
    Call *attempt*, which is a save or decides about one, as often as a save is tried.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        attempt: Gets the seconds that it may take.

    Raises:
        OperationalError: The last attempt's, when the time is over.
    """
    return with_retries(
        client,
        attempt,
        deadline(client),
        reopens=True,
        from_leader=True,
        each=SAVE_ATTEMPT,
    )


def other_position(error: IntegrityError) -> int | None:
    """Return where a stream ends that ends elsewhere than expected, None if nowhere."""
    cause = error.__cause__
    return cause.last_position if isinstance(cause, CallError) else None


def deadline(client: EventStoreDBClient) -> float:
    """Return the seconds that one save may take with all its retries."""
    configured = connector_of(client).access.default_deadline
    return DEFAULT_DEADLINE if configured is None else configured


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


def check_not_hidden(name: str) -> None:
    """
    Refuse a stream whose events would be no notifications.

    They could be saved, and no projection would ever see them.

    Raises:
        ProgrammingError: The name begins like system streams or snapshots' streams.
    """
    for prefix in HIDDEN_STREAM_PREFIXES:
        if name.startswith(prefix):
            msg = (
                f"Cannot save to stream {quoted(name)}: names that begin with "
                f"{prefix!r} are of system streams and snapshots, which notifications "
                "pass over, so no projection would see the events; give the aggregate "
                "another ID"
            )
            raise ProgrammingError(msg)


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
