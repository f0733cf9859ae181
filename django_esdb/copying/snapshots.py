"""Copying the snapshots of aggregates, after their events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django_esdb.copying.source import Source
from eventsourcing_eventstoredb.copying.copies import Copy, CopyError
from eventsourcing_eventstoredb.copying.target import CopyTarget


@dataclass
class SnapshotCounts:
    """
    What became of snapshots.

    Attributes:
        copied: They were not there, and are now; in a dry run, they would be.
        there: They were there already.
        superseded: They are not there, and need not be: the stream has later ones, or
            another one of the same version.
    """

    copied: int = 0
    there: int = 0
    superseded: int = 0


class SnapshotCopier:
    """
    Copies snapshots, aggregate by aggregate.

    The last of a stream is taken for the latest. So none is appended behind a later
    one, as an application has that takes its own by now.

    Args:
        source: Where they are.
        target: Where they go.
        is_dry_run: Whether to write nothing.
    """

    def __init__(self, source: Source, target: CopyTarget, *, is_dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._is_dry_run = is_dry_run
        self.counts = SnapshotCounts()

    def copy(self, originator_id: UUID | str, first_version: int) -> None:
        """
        Copy the snapshots of an aggregate, and read again what was copied.

        Args:
            originator_id: The aggregate's ID.
            first_version: The version of its first event in the source.

        Raises:
            CopyError: What is there as a copy is none of the source's.
            eventsourcing.persistence.PersistenceError: The store cannot be used.
        """
        # Of these the state is not kept.
        appended: list[UUID] = []
        found: Iterator[tuple[Copy, bool]] | None = None
        there: tuple[Copy, bool] | None = None
        expected: Copy | None = None
        for snapshot in self._source.snapshots(originator_id):
            expected = self._target.copy_of_snapshot(snapshot, first_version)
            if found is None:
                found = self._target.snapshots(expected.stream)
                there = next(found, None)
            while there is not None and there[0].version < expected.version:
                there = next(found, None)
            if there is not None:
                self._compare(expected, *there)
                continue
            if not self._is_dry_run:
                self._target.append_snapshot(expected)
                appended.append(expected.id)
            self.counts.copied += 1
        if expected is not None and appended:
            self._check(expected, appended)

    def _compare(self, expected: Copy, there: Copy, is_copy: bool) -> None:
        if there.id == expected.id:
            self.counts.there += 1
        elif is_copy and there.version == expected.version:
            msg = (
                f"EventStoreDB has, as the snapshot of {expected}, a copy of another "
                "one than the source has; nothing was overwritten"
            )
            raise CopyError(msg)
        else:
            self.counts.superseded += 1

    def _check(self, last: Copy, appended: Sequence[UUID]) -> None:
        """Read again what was appended, of which the store may keep the last only."""
        found: set[UUID] = set()
        latest = -1
        for there, is_copy in self._target.snapshots(last.stream):
            latest = there.version
            if is_copy:
                found.add(there.id)
        is_first_seen = False
        for identity in appended:
            is_first_seen = is_first_seen or identity in found
            if is_first_seen and identity not in found:
                msg = f"Snapshots are missing in stream {last.stream!r} after the copy"
                raise CopyError(msg)
        if not is_first_seen and latest <= last.version:
            msg = f"The snapshot of {last} is missing after it was copied"
            raise CopyError(msg)
