"""Which rows were changed since the handler's last statement."""

from __future__ import annotations

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.protocols import KnownRows


class ChangedNow:
    """
    Remembers what was changed and written in the present stretch.

    Args:
        rows: The identity map that this is a part of, which knows what was changed and
            is not written.
    """

    def __init__(self, rows: KnownRows) -> None:
        self._rows = rows
        # Rows, and None for what was deleted.
        self._written: set[Entry | None] = set()
        self._written_at = -1

    def has_others(self, but: Entry) -> bool:
        """Return whether another row was changed or deleted in this stretch."""
        rows, now = self._rows, self._rows.unit.stretch
        return (
            now in rows.deleted.values()
            or any(at == now and e is not but for e, at in rows.dirty.items())
            or (self._written_at == now and not self._written <= {but})
            or any(e is not but and self._is_changed(e) for e in tuple(rows.in_hand))
        )

    def note_written(self, entry: Entry | None, stretch: int) -> None:
        """
        Note that a change is in the database.

        Args:
            entry: The row; None for one that was deleted.
            stretch: In which it was changed.
        """
        if stretch != self._rows.unit.stretch:
            return
        if self._written_at != stretch:
            self._written_at = stretch
            self._written.clear()
        self._written.add(entry)

    def _is_changed(self, entry: Entry) -> bool:
        if entry.instance is None or entry.is_being_saved:
            return False
        return entry.is_unsaved or self._rows.instances.differ(entry)
