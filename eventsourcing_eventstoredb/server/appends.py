"""
The rules of writing: expected versions, idempotence, deletion.

Everything is decided and written inside one transaction of the log, so of two
appends that expect the same revision one wins, always. Appends that wait share one, in
the order in which they came, and each has its own outcome.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from eventsourcing_eventstoredb.server.errors import (
    ProtocolError,
    StorageError,
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.group_commit import GroupCommit, Work
from eventsourcing_eventstoredb.server.log import Log, Transaction
from eventsourcing_eventstoredb.server.metadata import (
    NO_METADATA,
    StreamMetadata,
    is_metadata_stream,
    metadata_stream_of,
    original_stream_of,
    parse_metadata,
    revival,
    soft_deletion,
)
from eventsourcing_eventstoredb.server.records import (
    ANY,
    MAX_NUMBER,
    NO_STREAM,
    STREAM_EXISTS,
    TOMBSTONE_TYPE,
    NewEvent,
    Record,
)
from eventsourcing_eventstoredb.server.stream_view import StreamView

# As many event ids as the real server's cache of 8 MiB holds, roughly.
_REMEMBERED_IDS = 100_000


@dataclass(frozen=True, slots=True)
class Appended:
    """
    Where an append has brought the stream.

    Attributes:
        last_number: Number of the last event of the append; -1 when the append was
            empty and the stream is.
        position: Position of that event; None when it cannot be read any more.
    """

    last_number: int
    position: int | None


class Append(Work):
    """
    Events to append to a stream that is where the caller expects it to be.

    Args:
        stream: The stream's name.
        expected: The last event's number, or a negative code.
        events: May be empty.
    """

    __slots__ = ("events", "expected", "stream")

    def __init__(self, stream: str, expected: int, events: list[NewEvent]) -> None:
        super().__init__()
        self.stream = stream
        self.expected = expected
        self.events = events

    @property
    def looks_at_ids(self) -> bool:
        """Whether it depends on the ids that were written, and not on revisions."""
        return self.expected in (ANY, STREAM_EXISTS)


@dataclass(frozen=True, slots=True)
class _Target:
    """A stream as a writer finds it."""

    name: str
    current: int
    metadata: StreamMetadata
    metadata_record: Record | None

    @property
    def is_soft_deleted(self) -> bool:
        return self.metadata.is_soft_deleted


class _KnownIds:
    """
    The first place of each event id written since the server started.

    Only expectations that name no revision need it; the oldest ids are forgotten.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def number(self, event_id: bytes, stream: str) -> int | None:
        place = self._places.get(event_id)
        return place[1] if place is not None and place[0] == stream else None

    def remember(self, stream: str, number: int, events: list[NewEvent]) -> None:
        places = self._places
        for offset, event in enumerate(events):
            places.setdefault(event.id, (stream, number + offset))
        while len(places) > _REMEMBERED_IDS:
            places.popitem(last=False)


class Writer:
    """
    Appends to streams and deletes them.

    Every method blocks until the log has committed, may be called from any thread,
    and writes either everything or nothing.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known_ids = _KnownIds()
        self._appends: GroupCommit[Append] = GroupCommit(self._append_group)

    def append(self, stream: str, expected: int, events: list[NewEvent]) -> Appended:
        """
        Append events to a stream that is where the caller expects it to be.

        Events that the stream already has after the expected revision are not written
        again; the answer is then that of the first time.

        Args:
            stream: The stream's name.
            expected: The last event's number, or a negative code.
            events: May be empty.

        Raises:
            WrongExpectedVersionError: The stream is somewhere else.
            StreamDeletedError: It has a tombstone, or is expected to exist and was
                deleted.
        """
        append = Append(stream, expected, events)
        self.append_all([append])
        if isinstance(append.outcome, Exception):
            raise append.outcome
        appended: Appended = append.outcome
        return appended

    def append_all(self, appends: Sequence[Append]) -> None:
        """
        Append to streams, each for itself, with few commits.

        Args:
            appends: In this order. The outcome of each is :class:`Appended`, or what
                :meth:`append` would raise.
        """
        self._appends.run(appends)

    def _append_group(self, appends: Sequence[Append]) -> None:
        rest = list(appends)
        while rest:
            tried: list[Append] = []
            try:
                with self._log.transaction() as transaction:
                    for append in rest:
                        if append.looks_at_ids and append.stream in transaction.streams:
                            # Ids count when they are committed.
                            break
                        tried.append(append)
                        self._append(transaction, append)
            except Exception as error:
                # All is undone. Whose fault it is shows when each is tried alone.
                if len(tried) > 1:
                    for append in tried:
                        self._append_group([append])
                else:
                    tried = tried or rest
                    for append in tried:
                        append.outcome = error
            del rest[: len(tried)]

    def _append(self, transaction: Transaction, append: Append) -> None:
        stream, events = append.stream, append.events
        try:
            target = _find(transaction, stream)
            already = self._check(transaction, target, append.expected, events)
        except ProtocolError as error:
            if isinstance(error, StorageError):
                raise
            # Nothing was written, so that it concerns no other.
            append.outcome = error
            return
        if already is not None:
            append.outcome = _appended_before(transaction, target, already)
            return
        append.outcome = self._write(transaction, target, events)
        first_number = target.current + 1
        # Not before the commit: an append that fails must not count as repeated.
        transaction.on_commit(
            lambda: self._known_ids.remember(stream, first_number, events)
        )

    def delete(self, stream: str, expected: int) -> int:
        """
        Hide a stream's events until something is appended to it again.

        Returns:
            The position of the record that says so.

        Raises:
            WrongExpectedVersionError: The stream is not where it is expected to be,
                or was never written.
            StreamDeletedError: As for `append`.
        """
        with self._log.transaction() as transaction:
            target = _find(transaction, stream)
            # An id that no event has: a deletion never counts as repeated.
            self._check(transaction, target, expected, [soft_deletion()])
            metadata_stream = metadata_stream_of(stream)
            # Not the target's record: metadata streams have none that counts.
            state = transaction.stream(metadata_stream)
            if target.current < 0 and state is None:
                raise WrongExpectedVersionError(stream, expected, target.current)
            if state is not None and state.is_tombstoned:
                raise StreamDeletedError(metadata_stream)
            number = 0 if state is None else state.last_number + 1
            return transaction.write(metadata_stream, number, [soft_deletion()])

    def tombstone(self, stream: str, expected: int) -> int:
        """
        Delete a stream for good: it cannot be read or appended to any more.

        Returns:
            The position of the tombstone.

        Raises:
            WrongExpectedVersionError, StreamDeletedError: As for `append`.
        """
        with self._log.transaction() as transaction:
            target = _find(transaction, stream)
            tombstone = NewEvent(uuid.uuid4().bytes, TOMBSTONE_TYPE, False, b"")
            self._check(transaction, target, expected, [tombstone])
            return transaction.write(stream, MAX_NUMBER, [tombstone])

    def _check(
        self,
        transaction: Transaction,
        target: _Target,
        expected: int,
        events: list[NewEvent],
    ) -> list[int] | None:
        """Decide whether to write (None), or which numbers the events already have."""
        if target.current == MAX_NUMBER:
            raise StreamDeletedError(target.name)
        if expected == STREAM_EXISTS:
            _check_existence(target)
        if expected in (ANY, STREAM_EXISTS):
            return self._check_ids(target, expected, events)
        if expected < target.current:
            return _check_earlier(transaction, target, expected, events)
        if expected > target.current:
            raise WrongExpectedVersionError(target.name, expected, target.current)
        return None

    def _check_ids(
        self, target: _Target, expected: int, events: list[NewEvent]
    ) -> list[int] | None:
        if not events:
            return None
        numbers = [self._known_ids.number(event.id, target.name) for event in events]
        if numbers[0] is None:
            return None
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            raise WrongExpectedVersionError(target.name, expected, target.current)
        return known

    @staticmethod
    def _write(
        transaction: Transaction, target: _Target, events: list[NewEvent]
    ) -> Appended:
        first_number = target.current + 1
        if events:
            position = transaction.write(target.name, first_number, events)
        else:
            position = transaction.write_marker()
        if target.is_soft_deleted:
            _revive(transaction, target.name, first_number)
        elif is_metadata_stream(target.name):
            _revive_original(transaction, target)
        return Appended(first_number + len(events) - 1, position)


def _find(transaction: Transaction, name: str) -> _Target:
    stream = transaction.stream(name)
    current = NO_STREAM if stream is None else stream.last_number
    if is_metadata_stream(name):
        # Metadata of metadata do not exist. Those of a tombstoned stream can still be
        # written where there are any.
        original = transaction.stream(original_stream_of(name))
        if current < 0 and original is not None and original.is_tombstoned:
            raise StreamDeletedError(name)
        return _Target(name, current, NO_METADATA, None)
    record = transaction.last_event(metadata_stream_of(name))
    return _Target(name, current, parse_metadata(record), record)


def _next_number(record: Record | None) -> int:
    return 0 if record is None else record.number + 1


def _check_existence(target: _Target) -> None:
    if target.is_soft_deleted:
        raise StreamDeletedError(target.name)
    if target.current < 0 and target.metadata_record is None:
        raise WrongExpectedVersionError(target.name, STREAM_EXISTS, target.current)


def _check_earlier(
    transaction: Transaction, target: _Target, expected: int, events: list[NewEvent]
) -> list[int] | None:
    """Compare with what followed the expected revision, whether shown or hidden."""
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


def _appended_before(
    transaction: Transaction, target: _Target, numbers: list[int]
) -> Appended:
    view = StreamView.of(transaction, target.name)
    record = view.event(transaction, numbers[-1])
    return Appended(numbers[-1], None if record is None else record.position)


def _revive(transaction: Transaction, stream: str, first_number: int) -> None:
    record = transaction.last_event(metadata_stream_of(stream))
    event = revival(record, first_number)
    if event is not None:
        transaction.write(metadata_stream_of(stream), _next_number(record), [event])


def _revive_original(transaction: Transaction, target: _Target) -> None:
    """Show a deleted stream again whose metadata have just been replaced."""
    if target.current < 0:
        return
    original = original_stream_of(target.name)
    if _metadata_before(transaction, target).is_soft_deleted:
        stream = transaction.stream(original)
        last_number = NO_STREAM if stream is None else stream.last_number
        if last_number != MAX_NUMBER:
            _revive(transaction, original, last_number + 1)


def _metadata_before(transaction: Transaction, target: _Target) -> StreamMetadata:
    """Read the metadata that were in force until now: *target* holds them."""
    stream = transaction.stream(target.name)
    if stream is None:
        return NO_METADATA
    found = transaction.stream_forwards(stream, target.current, target.current, 1)
    return parse_metadata(found[0]) if found else NO_METADATA
