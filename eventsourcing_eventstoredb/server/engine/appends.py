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

from eventsourcing_eventstoredb.server.engine.stream_view import StreamView
from eventsourcing_eventstoredb.server.engine.targets import (
    Target,
    check_earlier,
    check_existence,
    find,
    revive,
    revive_original,
    with_metadata,
)
from eventsourcing_eventstoredb.server.errors import (
    ProtocolError,
    StorageError,
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.storage.group_commit import GroupCommit, Work
from eventsourcing_eventstoredb.server.storage.log import Log, Transaction
from eventsourcing_eventstoredb.server.storage.metadata import (
    is_metadata_stream,
    metadata_stream_of,
    soft_deletion,
)
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    MAX_NUMBER,
    NO_STREAM,
    STREAM_EXISTS,
    TOMBSTONE_TYPE,
    NewEvent,
)

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
    def may_begin(self) -> bool:
        """Whether it writes if nothing was ever written to the stream, at no other."""
        return (
            self.expected == NO_STREAM
            and bool(self.events)
            # A new one is refused if the stream that it is about has a tombstone.
            and not is_metadata_stream(self.stream)
        )

    @property
    def looks_at_ids(self) -> bool:
        """Whether it depends on the ids that were written, and not on revisions."""
        return self.expected in (ANY, STREAM_EXISTS)


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
        position = transaction.begin(stream, events) if append.may_begin else None
        if position is not None:
            target = with_metadata(transaction, stream, NO_STREAM)
        else:
            try:
                target = find(transaction, stream)
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
            position = _write(transaction, target, events)
        append.outcome = _written(transaction, target, events, position)
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
            target = find(transaction, stream)
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
            target = find(transaction, stream)
            tombstone = NewEvent(uuid.uuid4().bytes, TOMBSTONE_TYPE, False, b"")
            self._check(transaction, target, expected, [tombstone])
            return transaction.write(stream, MAX_NUMBER, [tombstone])

    def _check(
        self,
        transaction: Transaction,
        target: Target,
        expected: int,
        events: list[NewEvent],
    ) -> list[int] | None:
        """Decide whether to write (None), or which numbers the events already have."""
        if target.current == MAX_NUMBER:
            raise StreamDeletedError(target.name)
        if expected == STREAM_EXISTS:
            check_existence(target)
        if expected in (ANY, STREAM_EXISTS):
            return self._check_ids(target, expected, events)
        if expected < target.current:
            return check_earlier(transaction, target, expected, events)
        if expected > target.current:
            raise WrongExpectedVersionError(target.name, expected, target.current)
        return None

    def _check_ids(
        self, target: Target, expected: int, events: list[NewEvent]
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


def _write(transaction: Transaction, target: Target, events: list[NewEvent]) -> int:
    if events:
        return transaction.write(target.name, target.current + 1, events)
    return transaction.write_marker()


def _written(
    transaction: Transaction, target: Target, events: list[NewEvent], position: int
) -> Appended:
    """Show again what was deleted until now; return where the append has led."""
    first_number = target.current + 1
    if target.is_soft_deleted:
        revive(transaction, target.name, first_number)
    elif is_metadata_stream(target.name):
        revive_original(transaction, target)
    return Appended(first_number + len(events) - 1, position)


def _appended_before(
    transaction: Transaction, target: Target, numbers: list[int]
) -> Appended:
    view = StreamView.of(transaction, target.name)
    record = view.event(transaction, numbers[-1])
    return Appended(numbers[-1], None if record is None else record.position)
