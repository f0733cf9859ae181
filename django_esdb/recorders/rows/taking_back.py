"""What a handler has made of the rows that an event has in hand."""

from __future__ import annotations

from typing import Protocol

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.finding.keys import Keys
from django_esdb.recorders.rows.finding.references import GivenReferences
from django_esdb.recorders.rows.instances.instances import Changes
from django_esdb.recorders.rows.protocols import KnownRows
from django_esdb.recorders.rows.single_rows import save_by_itself
from django_esdb.recorders.rows.values.frozen import Trust


class HeldRows(KnownRows, Protocol):
    """
    What taking rows back needs of their identity map.

    Attributes:
        is_simple: Whether values have only to be compared and written.
        is_saved_by_itself: Whether the model's own code saves each row.
        is_doubtful: Whether the database has rules that a change may break.
        doubtful: The attributes that such rules are about; None for all.
        is_looked_at_late: Whether it may look at one when the transaction ends.
        is_read_back: Whether the database may make more of a row than was written.
    """

    keys: Keys
    references: GivenReferences
    is_simple: bool
    is_saved_by_itself: bool
    is_doubtful: bool
    doubtful: frozenset[str] | None
    is_looked_at_late: bool
    is_read_back: bool


class TakingBack:
    """
    Notes what handlers have changed in instances.

    Args:
        rows: The identity map that this is a part of.
    """

    def __init__(self, rows: HeldRows) -> None:
        self._rows = rows
        self._unit = rows.unit
        self._info = rows.info
        self._instances = rows.instances
        self._pk_attname = rows.info.pk.attname
        self._referred = {rows.index_of[attname] for attname in rows.info.referred}

    def take_back(self, entry: Entry) -> Trust:
        """
        Note what the handler has made of an instance, as the database will have it.

        Returns:
            Whether the database has to be asked now.

        Raises:
            NotSupportedError: The row's primary key was changed.
        """
        instance = entry.instance
        if instance is None or entry.is_being_saved:
            return Trust.CERTAIN
        values = instance.__dict__
        if values.get(self._pk_attname) is not entry.pk and self.is_gone(entry):
            return Trust.CERTAIN
        if id(instance) in self._unit.being_saved and not entry.is_unsaved:
            # It is on its way to the database, by the handler's own call.
            return Trust.CERTAIN
        if self._info.relations:
            is_new = entry.is_unsaved
            self._instances.resolve_relations(instance, self._unit, is_saved=is_new)
        changes, trust = self._instances.changes(entry, values)
        if trust is None and not entry.is_unsaved:
            return Trust.CERTAIN
        return self._change(entry, changes, trust or Trust.CERTAIN)

    def is_gone(self, entry: Entry) -> bool:
        """Return whether the handler has deleted an instance by itself."""
        if (
            entry.instance.pk is None
            and self._rows.is_outdated(entry)
            # Else it is about to be a copy.
            and not self._unit.targets.is_there(self._rows.model, entry.pk)
        ):
            del self._rows.in_hand[entry]
            return True
        self._instances.check_key(entry)
        return False

    def _change(self, entry: Entry, changes: Changes, trust: Trust) -> Trust:
        """Note a change; return whether the database has to be asked now."""
        is_new, entry.is_unsaved = entry.is_unsaved, False
        if self._rows.is_simple:
            for index, value in changes:
                entry.current[index] = value
            if entry.is_behind:
                entry.writes_all = True
        else:
            further = self._change_with_care(entry, changes, is_new)
            if further is None:
                # It is saved already, and will be read again.
                return Trust.CERTAIN
            if further > trust:
                trust = further
        self._rows.dirty[entry] = self._unit.stretch
        if trust is not Trust.CERTAIN:
            entry.is_computed = True
            self._rows.keys.computed()
        return trust

    def _change_with_care(
        self, entry: Entry, changes: Changes, is_new: bool
    ) -> Trust | None:
        rows = self._rows
        changed = [index for index, _ in changes]
        self._instances.resolve_relations(entry.instance, self._unit)
        if rows.uniques.is_unseen(entry) and rows.uniques.concern(changed):
            # The database has to see what the row was in between.
            self._unit.write()
        if rows.is_saved_by_itself:
            save_by_itself(rows, entry, is_new=is_new)
            return None
        for index, value in changes:
            entry.current[index] = value
        entry.writes_all |= entry.is_behind
        rows.references.note(entry, changed)
        for index in changed:
            rows.keys.changed(entry, index)
        trust = Trust.COMPUTED if rows.is_read_back else Trust.CERTAIN
        if entry.pk is not None and rows.entries.get(entry.pk) is not entry:
            # The manager has left it out, and may find it by now.
            rows.keys.added(entry.pk)
            trust = Trust.DOUBTFUL
        if (is_new or rows.uniques.concern(changed)) and rows.uniques.given(entry):
            trust = Trust.DOUBTFUL
        if rows.is_doubtful and self._concern_rules(changed):
            trust = Trust.DOUBTFUL
            if rows.is_looked_at_late:
                self._unit.look_at_rules()
        if self._referred and not is_new and not self._referred.isdisjoint(changed):
            trust = Trust.DOUBTFUL
            self._unit.look_at_rules()
        return trust

    def _concern_rules(self, changed: list[int]) -> bool:
        doubtful = self._rows.doubtful
        return doubtful is None or any(
            self._rows.columns[index].attname in doubtful for index in changed
        )
