"""Foreign keys that an event has given values, looked at when it ends."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, models

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.protocols import KnownRows
from django_esdb.recorders.rows.schema.model_info import Reference
from django_esdb.recorders.rows.values.frozen import thawed


class GivenReferences:
    """
    What the rows of a model refer to since this event.

    Most databases look at references when a transaction ends. With one transaction for
    each event that would be the event's end, so it is looked at then.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: KnownRows) -> None:
        self._rows = rows
        # By whose they are.
        self._given: dict[tuple[Reference, Any], Entry] = {}

    def __len__(self) -> int:
        return len(self._given)

    def lead_to(self, model: type[models.Model]) -> bool:
        """Return whether any is to a row of a model."""
        return any(
            reference.target._meta.concrete_model is model
            for reference, _ in self._given
        )

    def note(self, entry: Entry, changed: list[int]) -> None:
        """Note that columns of a row have other values."""
        for reference in self._rows.info.references:
            index = self._rows.index_of.get(reference.attname)
            if index is None:
                self._given[reference, entry.pk] = entry
            elif index in changed and entry.current[index] is not None:
                self._given[reference, entry.current[index]] = entry

    def check(self) -> bool:
        """
        Look whether what the event refers to is there.

        Returns:
            Whether that is known; if not, the database has to be asked.

        Raises:
            IntegrityError: It is not there.
        """
        given, self._given = self._given, {}
        is_known = True
        for (reference, kept), entry in given.items():
            value = thawed(kept)
            if value is None or self._is_gone(entry):
                continue
            index = self._rows.index_of.get(reference.attname)
            if index is not None and entry.current[index] != kept:
                # It was given another value since, or put back to what it had.
                continue
            was_read = entry.stored is not None
            if was_read and entry.read_at != self._rows.unit.generation:
                # By now it may have another value, or not be there.
                is_known = False
            elif not self._rows.unit.targets.exists(reference, value):
                msg = (
                    f"{self._rows.model.__name__}.{reference.attname} is {value!r}, "
                    f"but there is no such {reference.target.__name__}"
                )
                raise IntegrityError(msg)
        return is_known

    def _is_gone(self, entry: Entry) -> bool:
        if entry.pk is None:
            return entry not in self._rows.unkeyed
        return self._rows.entries.get(entry.pk) is not entry
