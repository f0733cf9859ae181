"""
Copying the events of a source into EventStoreDB, one after the other.

Copies are appended in the order of the source and are known by their IDs. So those
that EventStoreDB has are always the first ones of the source, wherever a copy was
interrupted: the next one passes over these, compares them, and continues behind. In the
end all are read again on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import Notification

from django_esdb.copying.aggregates import Aggregates
from django_esdb.copying.readability import check_readable, compare_settings
from django_esdb.copying.snapshots import SnapshotCopier, SnapshotCounts
from django_esdb.copying.source import Source
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.copying.copies import Copy, CopyError
from eventsourcing_eventstoredb.copying.target import CopyTarget
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.streams.append_batches import AppendBatch

COPYING = "Copying"
LOOKING = "Looking"
CHECKING = "Checking"


@dataclass(frozen=True)
class Progress:
    """
    How far a copy has come.

    Attributes:
        phase: ``Copying``, ``Looking`` in a dry run, or ``Checking``.
        events: How many of the source's events it has gone through.
        fraction: Which part of the source that is, from 0 to 1, by notification IDs.
    """

    phase: str
    events: int
    fraction: float


@dataclass
class Outcome:
    """
    What became of a copy.

    Attributes:
        copied: How many events were copied; in a dry run, how many would be.
        there: How many EventStoreDB had already.
        aggregates: How many aggregates they are of.
        shifted: How many have another version there than in the source.
        snapshots: The same about snapshots.
        no_snapshots: Why no snapshots were looked for; empty if they were.
        checksum: SHA-256 of all copies, as hexadecimal digits; the same on both sides.
            Empty in a dry run.
    """

    copied: int = 0
    there: int = 0
    aggregates: int = 0
    shifted: int = 0
    snapshots: SnapshotCounts = field(default_factory=SnapshotCounts)
    no_snapshots: str = ""
    checksum: str = ""

    @property
    def events(self) -> int:
        """How many events the source has."""
        return self.copied + self.there


def copy_events(
    source: Source,
    target: Application[Any],
    *,
    is_dry_run: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """
    Copy an application's events and snapshots, and check them; blocks until then.

    Events that are saved in the source meanwhile may be left out. What EventStoreDB
    has is never overwritten. After an error, or a kill, the same call continues. Memory
    is needed for a bounded number of events and aggregates.

    Args:
        source: Where they are.
        target: The application on EventStoreDB; it stays the caller's to close.
        is_dry_run: Whether to write nothing, and only to compare.
        report: Called from time to time.

    Raises:
        ConfigurationError: The application keeps its events elsewhere, or could not
            read those of the source, since it has another cipher or compressor.
        CopyError: The source cannot be read, or EventStoreDB has something else than
            the source. What was copied before is there.
        eventsourcing.persistence.PersistenceError: EventStoreDB cannot be used.
    """
    recorder = target.recorder
    if not isinstance(recorder, EventStoreDBApplicationRecorder):
        msg = (
            f"{type(target).__name__} keeps its events elsewhere than in EventStoreDB, "
            "where alone they can be copied to"
        )
        raise ConfigurationError(msg)
    compare_settings(source.application, target)
    first = next(source.events(), None)
    if first is None:
        # Copies may be there all the same.
        id_type: type = recorder.originator_id_type or UUID
    else:
        id_type = str if isinstance(first.originator_id, str) else UUID
        check_readable(first, target)
    copies = CopyTarget(target.name, recorder, id_type)
    return _Copier(source, copies, is_dry_run, report).run(first)


class _Copier:
    def __init__(
        self,
        source: Source,
        target: CopyTarget,
        is_dry_run: bool,
        report: Callable[[Progress], None],
    ) -> None:
        self._source = source
        self._target = target
        self._is_dry_run = is_dry_run
        self._report = report
        self._outcome = Outcome()
        self._batch: AppendBatch[Copy] = AppendBatch()

    def run(self, first: Notification | None) -> Outcome:
        outcome = self._outcome
        if first is not None:
            outcome.no_snapshots = self._source.find_snapshots(first.originator_id)
        last, digest = self._copy()
        if first is not None and (not self._is_dry_run or not outcome.no_snapshots):
            self._check(last, digest)
        return outcome

    def _copy(self) -> tuple[int, str]:
        """Copy what is missing; return the last event's ID and the checksum of all."""
        digest = sha256()
        aggregates = Aggregates(self._source)
        outcome = self._outcome
        last = 0
        phase = LOOKING if self._is_dry_run else COPYING
        with closing(self._target.copies()) as found:
            for event in self._events(phase):
                aggregate = aggregates.next(event)
                expected = self._target.copy_of(event, aggregate.first_version)
                digest.update(expected.id.bytes)
                last = event.id
                there = next(found, None)
                if there is not None:
                    _compare(expected, there, outcome.there)
                    outcome.there += 1
                    aggregate.is_there = True
                    if self._is_dry_run and expected.position == 0:
                        self._target.check_begins(expected)
                else:
                    self._add(expected, is_behind_others=aggregate.is_there)
                    outcome.copied += 1
                    aggregate.is_there = False
                outcome.aggregates += expected.position == 0
                outcome.shifted += expected.version != expected.source_version
            self._flush()
            _check_end(found)
        return last, digest.hexdigest()

    def _check(self, last: int, expected_digest: str) -> None:
        """Read all again on both sides; copy snapshots, as events are there now."""
        outcome = self._outcome
        digest = sha256()
        aggregates = Aggregates(self._source)
        snapshots = SnapshotCopier(
            self._source, self._target, is_dry_run=self._is_dry_run
        )
        outcome.snapshots = snapshots.counts
        number = 0
        with closing(self._target.copies()) as found:
            for event in self._events(CHECKING, last):
                aggregate = aggregates.next(event)
                expected = self._target.copy_of(event, aggregate.first_version)
                if not self._is_dry_run:
                    there = next(found, None)
                    if there is None:
                        msg = (
                            f"EventStoreDB lacks {expected}: {number} copies are there"
                        )
                        raise CopyError(msg)
                    _compare(expected, there, number)
                    digest.update(there.id.bytes)
                    number += 1
                if event.originator_version == aggregate.first_version:
                    if not self._is_dry_run:
                        self._target.check_begins(expected)
                    snapshots.copy(event.originator_id, aggregate.first_version)
            if self._is_dry_run:
                return
            _check_end(found)
        outcome.checksum = digest.hexdigest()
        if number != outcome.events or outcome.checksum != expected_digest:
            msg = (
                f"The source has changed while it was copied: {outcome.events} events "
                f"were read, and {number} when they were checked; their checksums are "
                f"{expected_digest} and {outcome.checksum}"
            )
            raise CopyError(msg)

    def _events(self, phase: str, stop: int | None = None) -> Iterator[Notification]:
        end = stop or self._source.last_id()
        begin: int | None = None
        for number, event in enumerate(self._source.events(stop), start=1):
            begin = event.id - 1 if begin is None else begin
            yield event
            passed = (event.id - begin) / max(end - begin, 1)
            self._report(Progress(phase, number, min(passed, 1.0)))

    def _add(self, copied: Copy, *, is_behind_others: bool) -> None:
        if self._is_dry_run:
            # Behind what is not copied yet, there is nothing to look at.
            if is_behind_others or copied.position == 0:
                self._target.check_appendable(copied)
            return
        if not self._batch.has_room(copied):
            self._flush()
        self._batch.add(copied)

    def _flush(self) -> None:
        if self._batch.events:
            self._target.append(self._batch.events)
        self._batch = AppendBatch()


def _compare(expected: Copy, there: Copy, number: int) -> None:
    if there.id != expected.id:
        msg = (
            f"EventStoreDB has as copy {number + 1} {there}, where the source has "
            f"{expected}: it was copied from another source, or one of the two has "
            "changed since; nothing was overwritten"
        )
        raise CopyError(msg)


def _check_end(found: Iterator[Copy]) -> None:
    beyond = next(found, None)
    if beyond is not None:
        msg = f"EventStoreDB has a copy of {beyond}, which the source does not have"
        raise CopyError(msg)
