"""
Streams as a writer finds them.

What is expected of them, how they hide what was deleted, and how they show it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from eventsourcing_eventstoredb.server.errors import (
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.storage.log import Transaction
from eventsourcing_eventstoredb.server.storage.metadata import (
    NO_METADATA,
    StreamMetadata,
    is_metadata_stream,
    metadata_stream_of,
    original_stream_of,
    parse_metadata,
    revival,
)
from eventsourcing_eventstoredb.server.storage.records import (
    MAX_NUMBER,
    NO_STREAM,
    STREAM_EXISTS,
    NewEvent,
    Record,
)


@dataclass(frozen=True, slots=True)
class Target:
    """
    A stream as a writer finds it.

    Attributes:
        name: Its name.
        current: The number of its last event; -1 when it was never written to.
        metadata: The limits in force.
        metadata_record: The event that says so; None when there is none that counts.
    """

    name: str
    current: int
    metadata: StreamMetadata
    metadata_record: Record | None

    @property
    def is_soft_deleted(self) -> bool:
        return self.metadata.is_soft_deleted


def find(transaction: Transaction, name: str) -> Target:
    """
    Look at a stream that is to be written to.

    Raises:
        StreamDeletedError: It would hold the first metadata of one with a tombstone.
    """
    stream = transaction.stream(name)
    current = NO_STREAM if stream is None else stream.last_number
    if is_metadata_stream(name):
        # Metadata of metadata do not exist. Those of a tombstoned stream can still be
        # written where there are any.
        original = transaction.stream(original_stream_of(name))
        if current < 0 and original is not None and original.is_tombstoned:
            raise StreamDeletedError(name)
        return Target(name, current, NO_METADATA, None)
    return with_metadata(transaction, name, current)


def with_metadata(transaction: Transaction, name: str, current: int) -> Target:
    """Look at the metadata of a stream, itself none, whose last number is known."""
    record = transaction.last_event(metadata_stream_of(name))
    return Target(name, current, parse_metadata(record), record)


def check_existence(target: Target) -> None:
    """
    Refuse a stream that is expected to exist and does not.

    Raises:
        StreamDeletedError: It was deleted.
        WrongExpectedVersionError: It was never written to, and has no metadata.
    """
    if target.is_soft_deleted:
        raise StreamDeletedError(target.name)
    if target.current < 0 and target.metadata_record is None:
        raise WrongExpectedVersionError(target.name, STREAM_EXISTS, target.current)


def check_earlier(
    transaction: Transaction, target: Target, expected: int, events: list[NewEvent]
) -> list[int] | None:
    """
    Compare with what followed the expected revision, whether shown or hidden.

    Returns:
        The numbers that the events have already, or None when they are to be written.

    Raises:
        WrongExpectedVersionError: Others followed.
    """
    wrong = WrongExpectedVersionError(target.name, expected, target.current)
    stream = transaction.stream(target.name)
    if stream is None or not events:
        raise wrong
    first = expected + 1
    numbers: list[int] = []
    while len(numbers) < len(events):
        start = first + len(numbers)
        missing = len(events) - len(numbers)
        page = transaction.stream_forwards(stream, start, start + missing - 1, missing)
        for record in page:
            if record.id != events[len(numbers)].id:
                if not numbers and expected == NO_STREAM and target.is_soft_deleted:
                    return None
                raise wrong
            numbers.append(record.number)
        if not page:
            raise wrong
    return numbers


def revive(transaction: Transaction, stream: str, first_number: int) -> None:
    """Show a deleted stream again from a number on."""
    record = transaction.last_event(metadata_stream_of(stream))
    event = revival(record, first_number)
    if event is not None:
        transaction.write(metadata_stream_of(stream), _next_number(record), [event])


def revive_original(transaction: Transaction, target: Target) -> None:
    """Show a deleted stream again whose metadata have just been replaced."""
    if target.current < 0:
        return
    original = original_stream_of(target.name)
    if _metadata_before(transaction, target).is_soft_deleted:
        stream = transaction.stream(original)
        last_number = NO_STREAM if stream is None else stream.last_number
        if last_number != MAX_NUMBER:
            revive(transaction, original, last_number + 1)


def _metadata_before(transaction: Transaction, target: Target) -> StreamMetadata:
    """Read the metadata that were in force until now: *target* holds them."""
    stream = transaction.stream(target.name)
    if stream is None:
        return NO_METADATA
    found = transaction.stream_forwards(stream, target.current, target.current, 1)
    return parse_metadata(found[0]) if found else NO_METADATA


def _next_number(record: Record | None) -> int:
    return 0 if record is None else record.number + 1
