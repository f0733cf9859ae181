"""
Notification IDs that may still appear before ones that are there.

A database gives IDs when rows are inserted, and shows rows when they are committed.
A reader that follows the IDs would miss a row whose transaction takes longer than
that of the row after it. The library's own recorders lock their table against
that, and so does eventsourcing-django on PostgreSQL; SQLite has one writer only.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections, models
from eventsourcing.persistence import ApplicationRecorder

from django_esdb.db.vendors import may_commit_out_of_order

# How long after it got its ID a row has been inserted for certain. What is missing
# then was rolled back, or was never used.
GAP_SECONDS = 1.0

# IDs that are compared at a time.
_CHUNK = 10_000


class CommitOrder(Protocol):
    """Knows up to which ID nothing can appear any more."""

    def high_water_mark(self, after: int, head: int) -> int:
        """
        Return the last ID up to which nothing can appear any more.

        Args:
            after: An ID that was returned before, or with which all begins.
            head: An ID that is there.

        Returns:
            An ID from *after* to *head*.
        """


class Ordered:
    """IDs appear in their order."""

    def high_water_mark(self, after: int, head: int) -> int:
        """Return *head*."""
        return head


class Unordered:
    """
    IDs of a Django model's table appear in whichever order on MySQL and MariaDB.

    A row that is inserted and not committed shows in a dirty read. One that has its
    ID and is not inserted yet is a gap, which is waited for as long as it is new.
    Nothing is locked. Used by one thread.

    Args:
        model: The model of the table; ``id`` is its key.
        using: Alias of its database.
    """

    def __init__(self, model: type[models.Model], using: str) -> None:
        self._model = model
        self._using = using
        # Heads, and when they were seen first.
        self._seen: list[tuple[float, int]] = []
        self._old_head = 0

    def high_water_mark(self, after: int, head: int) -> int:
        """Ask the database, ten thousand IDs at a time; see :class:`CommitOrder`."""
        self._note(head)
        while after < head:
            end = min(after + _CHUNK, head)
            mark = self._high_water_mark(after, end)
            if mark < end:
                return mark
            after = end
        return head

    def _note(self, head: int) -> None:
        now = monotonic()
        if not self._seen or head > self._seen[-1][1]:
            self._seen.append((now, head))
        while self._seen and now - self._seen[0][0] > GAP_SECONDS:
            self._old_head = self._seen.pop(0)[1]

    def _high_water_mark(self, after: int, end: int) -> int:
        inserted = self._ids(after, end, is_dirty=True)
        # Afterwards: what is committed in between must be in both.
        committed = self._ids(after, end)
        pending = inserted - committed
        for gap in range(max(after, self._old_head) + 1, end + 1):
            if gap not in inserted:
                pending.add(gap)
                break
        return min(pending, default=end + 1) - 1

    def _ids(self, after: int, end: int, *, is_dirty: bool = False) -> set[int]:
        ids = self._model._default_manager.using(self._using).filter(
            pk__gt=after, pk__lte=end
        )
        if is_dirty:
            with connections[self._using].cursor() as cursor:
                # Of the one statement that follows.
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        return set(ids.values_list("pk", flat=True))


def commit_order(recorder: ApplicationRecorder) -> CommitOrder:
    """Return what must be known of the order in which a recorder's IDs appear."""
    model: Any = getattr(recorder, "model", None)
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        return Ordered()
    using = getattr(recorder, "using", None) or DEFAULT_DB_ALIAS
    if not may_commit_out_of_order(connections[using]):
        return Ordered()
    return Unordered(model, using)
