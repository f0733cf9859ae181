"""The rows of one model in a unit of work: an identity map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import IntegrityError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.recorders.rows.entries import Entry, model_info
from django_esdb.recorders.rows.normalising import Normalizer


class Work(Protocol):
    """What an identity map needs of the unit of work that it is part of."""

    using: str
    connection: BaseDatabaseWrapper

    def keys_of(self, model: type[models.Model], /) -> Iterable[Any]:
        """Return the keys that the batch's events will likely ask for."""

    def own_statements(self) -> AbstractContextManager[None]:
        """Tell statements of this unit from others'."""

    def flush(self) -> None:
        """Write everything that is pending."""

    def flush_touched(self) -> None:
        """Write what can have changed since this was last done."""

    def mark_stale(self) -> None:
        """Have rows of all models read again when they are next asked for."""


class IdentityMap:
    """
    What a unit of work knows of one model's rows.

    Rows are found by primary key, or by another field whose values are unique;
    whichever way, a row has one instance.
    """

    def __init__(self, unit: Work, model: type[models.Model]) -> None:
        self.unit = unit
        self.model = model
        self.info = model_info(model)
        self.normalizer = Normalizer(self.info, unit.connection)
        self.entries: dict[Any, Entry] = {}
        # New rows whose primary key the database will choose.
        self.unkeyed: list[Entry] = []
        self.deleted: set[Any] = set()
        self._absent: set[Any] = set()
        self._absent_values: set[tuple[str, Any]] = set()
        self._by_field: dict[str, dict[Any, Entry]] = {}
        self._prefetched: set[str] = set()
        self._increments: dict[tuple[str, Any], dict[str, Any]] = {}
        # Rows that were handed out for this event, and for earlier ones since
        # they were last written: only these can have changed.
        self._touched_now: dict[Entry, None] = {}
        self._touched: dict[Entry, None] = {}

    # Finding rows

    def find(self, field_name: str, key: Any) -> Entry | None:
        """Return the row with this value in the field, None if there is none."""
        if field_name == "pk":
            entry = self.entries.get(key)
            if entry is None:
                key = self.normalised("pk", key)
                entry = self._find_by_pk(key)
        else:
            key = self.normalised(field_name, key)
            entry = self._find_by_field(field_name, key)
        if entry is not None and (entry.stale or entry.is_computed):
            entry = self._refresh(entry)
        if entry is not None:
            self._touched_now[entry] = None
            if self._increments:
                self._apply_increments(field_name, key, entry)
        return entry

    def _find_by_pk(self, key: Any) -> Entry | None:
        entry = self.entries.get(key)
        if entry is None and key not in self._absent and key not in self.deleted:
            self._load("pk", key)
            entry = self.entries.get(key)
        return entry

    def _find_by_field(self, field_name: str, key: Any) -> Entry | None:
        index = self._by_field.setdefault(field_name, {})
        entry = self._current(index.get(key), field_name, key)
        if entry is not None:
            return entry
        # This event may have changed the value of a row since it was indexed.
        for candidate in self._touched_now:
            if self._current(candidate, field_name, key):
                return candidate
        if (field_name, key) in self._absent_values:
            return None
        # The database must not find a row by the value it had.
        self.unit.flush_touched()
        self._load(field_name, key)
        return self._current(index.get(key), field_name, key)

    def _current(self, entry: Entry | None, field_name: str, key: Any) -> Entry | None:
        if entry is None or getattr(entry.instance, field_name) != key:
            return None
        known = entry.pk is None or self.entries.get(entry.pk) is entry
        return entry if known else None

    def _load(self, field_name: str, key: Any) -> None:
        keys = {key}
        if field_name not in self._prefetched:
            self._prefetched.add(field_name)
            wanted = set(self._wanted_keys(field_name))
            # Otherwise this is no key that the batch's events tell.
            if key in wanted:
                keys = wanted
        self.load_all(field_name, keys)

    def _wanted_keys(self, field_name: str) -> Iterator[Any]:
        for raw in self.unit.keys_of(self.model):
            try:
                yield self.normalised(field_name, raw)
            except (ValidationError, TypeError, ValueError):
                # An aggregate's ID need not be of the type of every key.
                continue

    def load_all(self, field_name: str, keys: Iterable[Any]) -> None:
        """Load the rows with these values that are not known, in one query."""
        missing = [key for key in keys if not self._is_known(field_name, key)]
        if not missing:
            return
        rows = self.model._base_manager.using(self.unit.using)
        with self.unit.own_statements():
            found = list(rows.filter(**{f"{field_name}__in": missing}))
        index = self._by_field.setdefault(field_name, {})
        for instance in found:
            entry = self.entries.get(instance.pk)
            if entry is None and instance.pk not in self.deleted:
                entry = self.entries[instance.pk] = Entry(instance)
                entry.mark_clean(self.info)
                if self.normalizer.loaded(entry):
                    # A row in memory has a value that this one has.
                    self.unit.flush_touched()
            if entry is not None and field_name != "pk":
                index[getattr(instance, field_name)] = entry
        self._note_absent(field_name, missing)

    def _note_absent(self, field_name: str, keys: list[Any]) -> None:
        for key in keys:
            if field_name == "pk":
                if key not in self.entries:
                    self._absent.add(key)
            elif key not in self._by_field[field_name]:
                self._absent_values.add((field_name, key))

    def _is_known(self, field_name: str, key: Any) -> bool:
        if field_name == "pk":
            return key in self.entries or key in self._absent or key in self.deleted
        return (field_name, key) in self._absent_values

    def _refresh(self, entry: Entry) -> Entry | None:
        """Read a row again into the same instance."""
        self.unit.flush_touched()
        if not entry.stale and not entry.is_computed:
            # It was read again when it was written.
            return entry
        rows = self.model._base_manager.using(self.unit.using)
        with self.unit.own_statements():
            fresh = rows.filter(pk=entry.pk).first()
        if fresh is None:
            self.forget(entry)
            self._absent.add(entry.pk)
            return None
        self._put_back(entry, fresh)
        return entry

    def normalised(self, field_name: str, key: Any) -> Any:
        """Return the key as the field's values are."""
        field: Any = (
            self.info.pk
            if field_name == "pk"
            else self.model._meta.get_field(field_name)
        )
        value = field.to_python(key)
        # A foreign key's value is the key of what it points to.
        return value.pk if isinstance(value, models.Model) else value

    # Changing rows

    def add(self, instance: models.Model) -> Entry:
        """
        Take in a new row.

        Raises:
            IntegrityError: There is a row with its primary key.
        """
        entry = Entry(instance)
        pk = instance.pk
        if pk is None or hasattr(pk, "resolve_expression"):
            self.unkeyed.append(entry)
            self._touched_now[entry] = None
            return entry
        pk = self.normalised("pk", pk)
        if pk in self.entries:
            msg = f"{self.model.__name__} with primary key {pk!r} exists already"
            raise IntegrityError(msg)
        if pk in self.deleted:
            # Deleting and adding again are two statements, in that order.
            self.unit.flush()
        entry.pk = pk
        self.entries[pk] = entry
        self._absent.discard(pk)
        self._touched_now[entry] = None
        return entry

    def delete(self, entry: Entry) -> None:
        """Delete a row, and what its deletion takes along."""
        if entry.loaded is None or self.info.has_dependents:
            # The database has to see a new row, and what depends on this one
            # has to be there as it is by now.
            self.unit.flush()
        pk = entry.pk
        self.forget(entry)
        self.normalizer.forget(entry)
        if not self.info.has_dependents:
            self.deleted.add(pk)
            return
        rows = self.model._base_manager.using(self.unit.using)
        with self.unit.own_statements():
            rows.filter(pk=pk).delete()
        self._absent.add(pk)
        self.unit.mark_stale()

    def increment(self, field_name: str, key: Any, amounts: dict[str, Any]) -> None:
        """Add to fields of a row, which is loaded or made no earlier than needed."""
        key = self.normalised(field_name, key)
        known = self.entries.get(key) if field_name == "pk" else None
        if known is not None and not known.stale:
            _add_to(known.instance, amounts)
            self._touched_now[known] = None
            return
        if any(amount < 0 for amount in amounts.values()):
            # What the row is in between may be what the database refuses.
            entry = self.find(field_name, key)
            if entry is None:
                entry = self.add(self.model(**{field_name: key}))
            _add_to(entry.instance, amounts)
            return
        pending = self._increments.setdefault((field_name, key), {})
        for name, amount in amounts.items():
            pending[name] = pending[name] + amount if name in pending else amount

    def _apply_increments(self, field_name: str, key: Any, entry: Entry) -> None:
        pending = self._increments.pop((field_name, key), None)
        if pending is not None:
            _add_to(entry.instance, pending)
            self._touched_now[entry] = None

    def resolve_increments(self) -> None:
        """Give every increment its row; rows that are not there are made."""
        for name in {field_name for field_name, _ in self._increments}:
            keys = [key for field_name, key in self._increments if field_name == name]
            self.load_all(name, keys)
        for name, key in list(self._increments):
            if (name, key) in self._increments:
                entry = self.find(name, key)
                if entry is None:
                    entry = self.add(self.model(**{name: key}))
                    self._apply_increments(name, key, entry)

    # What the unit of work asks for

    def event_ended(self) -> None:
        """
        Settle what the event has had in hand.

        Raises:
            ReplayNeeded: See :class:`Normalizer`.
        """
        doubtful = False
        for entry in self._touched_now:
            doubtful |= self.normalizer.normalize(entry)
            if self.info.is_computed(entry):
                entry.is_computed = True
        if doubtful:
            self.unit.flush_touched()
        for field_name, index in self._by_field.items():
            for entry in self._touched_now:
                value = getattr(entry.instance, field_name)
                index[value] = entry
                self._absent_values.discard((field_name, value))
        self._touched.update(self._touched_now)
        self._touched_now.clear()

    def touched(self) -> list[Entry]:
        return [*self._touched, *self._touched_now]

    def written(self) -> None:
        """What was handed out earlier is written; this event's may change again."""
        self._touched.clear()

    def forget(self, entry: Entry) -> None:
        self.entries.pop(entry.pk, None)
        self._touched.pop(entry, None)
        self._touched_now.pop(entry, None)

    def mark_stale(self) -> None:
        """Somebody else has written: trust nothing that was loaded."""
        self._absent.clear()
        self._absent_values.clear()
        for entry in self.entries.values():
            entry.stale = True

    def rolled_back(self) -> None:
        """
        The database went back to a savepoint, before which all was written.

        Rows that this event has had in hand are put back to what is there.
        """
        self.deleted.clear()
        self._increments.clear()
        self.unkeyed.clear()
        self.normalizer = Normalizer(self.info, self.unit.connection)
        self.mark_stale()
        in_hand = {e.pk: e for e in self.touched() if e.pk is not None}
        rows = self.model._base_manager.using(self.unit.using)
        found = rows.in_bulk(list(in_hand)) if in_hand else {}
        for pk, entry in in_hand.items():
            if pk in found:
                self._put_back(entry, found[pk])
            else:
                self.forget(entry)

    def _put_back(self, entry: Entry, fresh: models.Model) -> None:
        entry.instance.__dict__.update(fresh.__dict__)
        entry.mark_clean(self.info)
        self.normalizer.loaded(entry)

    def read_again(self, entries: list[Entry]) -> None:
        """Get what only the database can tell, in one query."""
        rows = self.model._base_manager.using(self.unit.using)
        found = rows.in_bulk([entry.pk for entry in entries])
        for entry in entries:
            if entry.pk in found:
                self._put_back(entry, found[entry.pk])

    def missing(self, key: Any) -> ObjectDoesNotExist:
        """Return what the model's manager would raise."""
        msg = f"{self.model.__name__} {key!r} does not exist"
        error: ObjectDoesNotExist = self.model.DoesNotExist(msg)  # type: ignore[attr-defined]
        return error


def _add_to(instance: models.Model, amounts: dict[str, Any]) -> None:
    for name, amount in amounts.items():
        setattr(instance, name, getattr(instance, name) + amount)
