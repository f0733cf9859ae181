"""Finding a model's rows by their keys, in memory or in the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.utils import NotSupportedError

from django_esdb.db.fields import target_of
from django_esdb.db.vendors import ignores_case, most_parameters, rounds_decimals
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.protocols import KnownRows
from django_esdb.recorders.rows.values.columns import (
    Column,
    frozen_values,
    has_collation,
)
from django_esdb.recorders.rows.values.frozen import Trust
from django_esdb.recorders.rows.values.unique_values import collated


class Keys:
    """
    Knows which keys lead to which rows, and which to none.

    The database decides which row a key finds: where its collation takes different
    texts for the same, a text that is not known as it stands is asked for.

    Args:
        rows: The identity map that this is a part of.
    """

    def __init__(self, rows: KnownRows) -> None:
        self._rows = rows
        self._unit = rows.unit
        model = rows.model
        self._model = model
        self._pk = Column(rows.info.pk, rows.unit.connection)
        is_folding = ignores_case(rows.unit.connection)
        self._is_collated = {
            column.attname: is_folding or has_collation(column.field)
            for column in (self._pk, *rows.columns)
            if _is_text(column.field)
        }
        self._is_collated["pk"] = self._is_collated.get(self._pk.attname, False)
        self._aliases: dict[Any, Entry] = {}
        self._absent: set[tuple[str, Any]] = set()
        # By attribute and value, each with the value that the row itself has.
        self._index: dict[str, dict[Any, tuple[Entry, Any]]] = {}
        self._prefetched: set[str] = set()
        # How many rows were read again, and how many to read at once.
        self._has_been_outdated = False
        self._refreshed = 0
        self._refresh_limit = 1 << 30

    def by_pk(self, key: Any) -> Entry | None:
        """Return the row with this primary key in any form, None if there is none."""
        entries = self._rows.entries
        key = self.sought("pk", key)
        entry = entries.get(key)
        if entry is None:
            if self._is_collated["pk"]:
                # What was added has to be there to be found.
                self._take_back_new(key)
            entry = self._alias(key)
        if entry is None and not self._is_gone(key):
            if self._is_collated["pk"]:
                self._unit.write_taken_back()
            self._load("pk", key)
            entry = entries.get(key) or self._alias(key)
        return entry

    def _take_back_new(self, key: Any) -> None:
        """
        Take back new rows, if one may have a key in another form.

        Others are not to be written before all is: whether a key has to be looked for
        depends on the batch.
        """
        rows = self._rows
        if not any(
            entry.is_unsaved and _may_be_same(entry.pk, key) for entry in rows.in_hand
        ):
            return
        if self._unit.holds_own_saves():
            self._unit.take_back_in_turn()
        else:
            rows.take_back_new()

    def by_value(self, attname: str, key: Any) -> Entry | None:
        """
        Return the row with this value in a unique field, None if there is none.

        Raises:
            NotSupportedError: The value is None, which any number of rows may have.
        """
        key = self.sought(attname, key)
        if key is None:
            name = self._rows.model.__name__
            msg = (
                f"rows({name}, key={attname!r}) cannot look for None, which any number "
                f"of rows may have; ask {name}.objects"
            )
            raise NotSupportedError(msg)
        entry = self._indexed(attname, key)
        if entry is not None and self._rows.is_outdated(entry):
            # By now it may have another value.
            self.refresh(entry)
            entry = self._indexed(attname, key)
        if entry is None and (attname, key) not in self._absent:
            # The database must not find a row by the value it had.
            self._unit.write_taken_back()
            self._load(attname, key)
            entry = self._indexed(attname, key)
        return entry

    def normalised(self, attname: str, key: Any) -> Any:
        """Return a key as the field's values are."""
        column = self._column(attname)
        return column.normalised(_value_of(key, column))

    def check_new(self, pk: Decimal) -> None:
        """
        See to it that a new row is found by the key that it is added with.

        Raises:
            NotSupportedError: It is a number that the database keeps, and reads as
                another one.
        """
        is_rounded = rounds_decimals(self._unit.connection)
        if not is_rounded and self._pk.settle(pk)[1] is not Trust.CERTAIN:
            msg = (
                f"{self._model.__name__} cannot have {pk} as its primary key: it is "
                "not read as it is stored; round it to what the field has"
            )
            raise NotSupportedError(msg)

    def sought(self, attname: str, key: Any) -> Any:
        """Return a key as a row is looked for by it."""
        column = self._column(attname)
        return column.sought(_value_of(key, column))

    def has_integers(self, attname: str) -> bool:
        """Return whether a column has whole numbers only."""
        return self._column(attname).integers is not None

    def changed(self, entry: Entry, index: int) -> None:
        """Note that a row has another value in a column."""
        attname = self._rows.columns[index].attname
        known = self._index.get(attname)
        if known is None:
            return
        value = entry.current[index]
        known[value] = (entry, value)
        self._forget_absent(attname, value)

    def computed(self) -> None:
        """Note that only the database knows some values of a row."""
        if self._index:
            self._absent = {each for each in self._absent if each[0] == "pk"}

    def added(self, pk: Any) -> None:
        """Note that there is a row with this key."""
        self._forget_absent("pk", pk)

    def clear_absent(self) -> None:
        """Forget which keys lead to no row."""
        self._absent.clear()
        self._aliases.clear()
        if self._has_been_outdated:
            self._refresh_limit = max(1, 2 * self._refreshed)
        self._has_been_outdated = True
        self._refreshed = 0

    def load_all(self, attname: str, keys: Iterable[Any]) -> None:
        """Load the rows with these values that are not known, in one query."""
        missing = [key for key in keys if not self._is_known(attname, key)]
        matched: set[Any] = set()
        for row in self._selected(attname, missing):
            pk, values = row[0], list(row[1:])
            entry = self._taken_in(pk, values)
            if entry is None:
                continue
            value = pk if attname == "pk" else entry.current[self._position(attname)]
            matched.add(value)
            if attname != "pk":
                self._index.setdefault(attname, {})[value] = (entry, value)
            if len(missing) == 1:
                self._found_by(attname, missing[0], entry, value)
        is_clear = not self._is_collated.get(attname, False) or matched <= set(missing)
        if is_clear or len(missing) == 1:
            self._absent.update(
                (attname, key) for key in missing if not self._is_known(attname, key)
            )

    def refresh(self, entry: Entry) -> Entry | None:
        """
        Read a row again, and with it others that are out of date.

        So many that after a statement of other code all are read in one query;
        fewer if few were asked for since the last such statement. What the event has in
        hand stays as it is, until it asks for it.
        """
        in_hand = self._rows.in_hand
        if entry in in_hand:
            self._unit.flush()
        else:
            self._unit.write_taken_back()
        if self._rows.is_outdated(entry):
            wanted = {entry: None}
            for other in self._rows.entries.values():
                if len(wanted) >= self._refresh_limit:
                    break
                if self._rows.is_outdated(other) and other not in in_hand:
                    wanted[other] = None
            self.reread(list(wanted))
            self._refresh_limit *= 2
        self._refreshed += 1
        is_there = self._rows.entries.get(entry.pk) is entry
        return entry if is_there else None

    def reread(self, entries: Sequence[Entry], *, is_undone: bool = False) -> None:
        """
        Read rows again; those that are not there any more are forgotten.

        Args:
            entries: The rows.
            is_undone: Whether what was done to them is undone.
        """
        found = {row[0]: list(row[1:]) for row in self._selected_entries(entries)}
        for entry in entries:
            values = found.get(entry.pk)
            if values is None:
                turn = self._rows.in_hand.get(entry)
                self._rows.forget(entry)
                self._absent.add(("pk", entry.pk))
                if turn is not None and not is_undone:
                    # Who changes it nevertheless changes what the manager leaves out,
                    # or gets an error.
                    self._rows.in_hand[entry] = turn
            else:
                self._put(entry, values)

    def _selected_entries(self, entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
        return self._selected("pk", [entry.pk for entry in entries])

    def _selected(self, attname: str, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        unit = self._unit
        rows = self._model._default_manager.using(unit.using).order_by()
        integers = self._column(attname).integers
        if integers is not None:
            # Others cannot be there, and SQLite's driver does not take them.
            keys = [key for key in keys if isinstance(key, int) and key in integers]
        names = ("pk", *(column.attname for column in self._rows.columns))
        at_once = most_parameters(unit.connection)
        for start in range(0, len(keys), at_once):
            some = keys[start : start + at_once]
            with unit.own_statements():
                yield from list(
                    rows.filter(**{f"{attname}__in": some}).values_list(*names)
                )

    def _taken_in(self, pk: Any, values: list[Any]) -> Entry | None:
        entry = self._rows.entries.get(pk)
        if entry is None:
            if pk in self._rows.deleted:
                return None
            entry = self._rows.entries[pk] = Entry(pk, None, [])
            self._put(entry, values)
            if self._rows.uniques.loaded(entry):
                # A row in memory has a value that this one has.
                self._unit.flush()
        elif self._rows.is_outdated(entry) and entry not in self._rows.dirty:
            self._put(entry, values)
        return entry

    def _put(self, entry: Entry, values: list[Any]) -> None:
        rows = self._rows
        entry.current = frozen_values(rows.columns, values)
        entry.stored = list(entry.current)
        entry.spare = None
        entry.read_at = self._unit.generation
        entry.is_computed = entry.is_behind = entry.writes_all = False
        rows.dirty.pop(entry, None)
        rows.uniques.loaded(entry)
        rows.instances.put_back(entry)
        for attname, known in self._index.items():
            value = entry.current[self._position(attname)]
            known[value] = (entry, value)

    def _load(self, attname: str, key: Any) -> None:
        keys = [key]
        if attname not in self._prefetched:
            self._prefetched.add(attname)
            wanted = dict.fromkeys(self._rows.wanted_keys(attname))
            # Otherwise this is no key that the batch's events tell.
            if key in wanted:
                keys = list(wanted)
        self.load_all(attname, keys)
        if len(keys) > 1 and not self._is_known(attname, key):
            self.load_all(attname, [key])

    def _is_known(self, attname: str, key: Any) -> bool:
        if (attname, key) in self._absent:
            return True
        if attname == "pk":
            return (
                key in self._rows.entries
                or key in self._rows.deleted
                or key in self._aliases
            )
        return self._indexed(attname, key) is not None

    def _is_gone(self, key: Any) -> bool:
        return ("pk", key) in self._absent or key in self._rows.deleted

    def _found_by(self, attname: str, key: Any, entry: Entry, value: Any) -> None:
        """Note that the database has found a row by another form of its key."""
        if value == key:
            return
        if attname == "pk":
            self._aliases[key] = entry
        else:
            self._index.setdefault(attname, {})[key] = (entry, value)

    def _alias(self, key: Any) -> Entry | None:
        entry = self._aliases.get(key)
        if entry is None or self._rows.entries.get(entry.pk) is not entry:
            return None
        return entry

    def _indexed(self, attname: str, key: Any) -> Entry | None:
        entry, value = self._index.setdefault(attname, {}).get(key, (None, None))
        if entry is None or entry.current[self._position(attname)] != value:
            return None
        is_there = (
            self._rows.entries.get(entry.pk) is entry
            if entry.pk is not None
            # It may have been added within a savepoint that was undone.
            else entry in self._rows.unkeyed
        )
        return entry if is_there else None

    def _forget_absent(self, attname: str, value: Any) -> None:
        self._absent.discard((attname, value))
        if not self._is_collated.get(attname, False) or not isinstance(value, str):
            return
        # Any of these may be what the database takes for the same.
        self._absent -= {
            (name, key)
            for name, key in self._absent
            if name == attname and _may_be_same(key, value)
        }

    def _position(self, attname: str) -> int:
        return self._rows.index_of[attname]

    def _column(self, attname: str) -> Column:
        if attname in ("pk", self._pk.attname):
            return self._pk
        return self._rows.columns[self._position(attname)]


def _value_of(key: Any, column: Column) -> Any:
    """Return the value of a key that may be a row."""
    if not isinstance(key, models.Model):
        return key
    target = getattr(column.field, "target_field", None)
    return key.pk if target is None else getattr(key, target.attname)


def _may_be_same(key: Any, other: Any) -> bool:
    """Return whether the database may take two keys for the same."""
    if not (isinstance(key, str) and isinstance(other, str)):
        return bool(key == other)
    forms = collated(key), collated(other)
    return None in forms or forms[0] == forms[1]


def _is_text(field: Any) -> bool:
    return isinstance(target_of(field), models.CharField | models.TextField)
