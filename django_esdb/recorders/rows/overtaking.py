"""Rows that code of another one changes before they are saved themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import NotSupportedError, models

from django_esdb.db.effects import bare_name, names_in
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.instances.own_saves import is_writing_row_of
from django_esdb.recorders.rows.schema.triggered import Triggers
from django_esdb.recorders.rows.values.columns import frozen_values
from django_esdb.recorders.rows.values.frozen import are_same

_PLAIN = ("INSERT", "UPDATE", "DELETE")


class Overtaking:
    """
    Sees to it that a row is not written over what saving another one has made of it.

    Rows that an event has changed are saved one after the other. Where the code of one,
    such as a receiver, changes another one that the event has changed, too, what is
    right depends on when the handler would have saved the first.

    Args:
        triggers: What the database does more than statements say.
    """

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers
        # What was written since rows are taken back; None for any table.
        self._written: set[str] | None = set()
        # Of these the handler knows that others have written them.
        self._behind: set[Entry] = set()
        # What is taken back, and saved perhaps.
        self._saved: Any = None

    def begin(self, entries: Iterable[Entry]) -> None:
        """Note that rows are about to be taken back, some of which may be saved."""
        self._written = set()
        self._behind = {entry for entry in entries if entry.is_behind}

    def note(self, text: str) -> None:
        """Note a statement that writes while a row is saved by itself."""
        names = names_in(text)
        if not text.startswith(_PLAIN) or self._triggers.act_on_any(names):
            self._written = None
        elif self._written is not None and not is_writing_row_of(self._saved):
            self._written |= names

    def check(self, rows: IdentityMap, entry: Entry) -> None:
        """
        Look whether a row that is to be taken back is as it was read.

        Raises:
            NotSupportedError: It was changed by the event, and by other code since rows
                are taken back.
        """
        self._saved = entry.instance
        if not self._concerns(rows, entry) or not rows.is_changed(entry):
            return
        names = [column.attname for column in rows.columns]
        found: Any = models.QuerySet(rows.model, using=rows.unit.using)
        with rows.unit.own_statements():
            row = found.filter(pk=entry.pk).values_list(*names).first()
        if row is None:
            return
        assert entry.stored is not None
        if not are_same(entry.stored, frozen_values(rows.columns, row)):
            msg = (
                f"{rows.model.__name__} {entry.pk!r} was changed by the event, and by "
                "code that ran when another row was saved; save() that one, or call "
                "self.refresh_rows(), before this one is asked for"
            )
            raise NotSupportedError(msg)

    def _concerns(self, rows: IdentityMap, entry: Entry) -> bool:
        written = self._written
        table = bare_name(rows.model._meta.db_table).casefold()
        return (
            (written is None or table in written)
            and entry.stored is not None
            # What is stored of a row that was saved by itself is not known here.
            and entry.read_at >= 0
            and not entry.is_computed
            and entry not in self._behind
        )
