"""
Doing a random event's steps, on either of two ways to read and write rows.

The plain way is the reference: ``Model.objects``, where each row that was changed is
saved before the next statement and when the event ends, in the order of the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.fields.files import FieldFile

from tests.support.rows_app.models import Chip, Gauge, Keeper, Permit, Specimen
from tests.support.walks.steps import Event, Step


class UndoneError(Exception):
    """Rolls a savepoint back."""


class PlainRows:
    """A model's rows with the plain ORM, each with one instance in an event."""

    def __init__(self, plain: Plain, model: type[Any], key: str = "pk") -> None:
        self._plain = plain
        self._model = model
        self._key = key

    def get_or_none(self, key: Any) -> Any:
        self._plain.save()
        found = self._model.objects.filter(**{self._key: key}).first()
        return None if found is None else self._known(found)

    def _known(self, found: Any) -> Any:
        known = self._plain.known(found)
        if known is None:
            return self._plain.watched(found)
        known.refresh_from_db()
        return self._plain.watched(known)

    def get_or_create(self, key: Any, defaults: dict[str, Any]) -> tuple[Any, bool]:
        found = self.get_or_none(key)
        if found is not None:
            return found, False
        new = self._model(**{self._key: key, **defaults})
        self._plain.added(new)
        return new, True

    def add(self, instance: Any) -> Any:
        self._plain.save()
        self._plain.added(instance)
        return instance

    def delete(self, key: Any) -> bool:
        found = self.get_or_none(key)
        if found is None:
            return False
        self._plain.unwatch(found)
        # The instance that a handler holds is not told: rows are deleted by their keys.
        copy(found).delete()
        return True

    def increment(self, key: Any, **amounts: Any) -> None:
        found, _ = self.get_or_create(key, {})
        for name, amount in amounts.items():
            setattr(found, name, getattr(found, name) + amount)

    def filter(self, *, pk__in: list[Any]) -> list[Any]:
        rows = [self.get_or_none(key) for key in dict.fromkeys(pk__in)]
        return [row for row in rows if row is not None]


class Plain:
    """The plain way."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._new: dict[int, Any] = {}

    def rows(self, model: type[Any], key: str = "pk") -> PlainRows:
        return PlainRows(self, model, key)

    def known(self, found: Any) -> Any:
        """Return the instance that the event has of a row, None if there is none."""
        for instance, _ in self._watched.values():
            if type(instance) is type(found) and instance.pk == found.pk:
                return instance
        return None

    def watched(self, instance: Any) -> Any:
        self._watched[id(instance)] = (instance, _copied(instance))
        return instance

    def unwatch(self, instance: Any) -> None:
        self._watched.pop(id(instance), None)

    def added(self, instance: Any) -> None:
        self._new[id(instance)] = instance

    def save(self, but: Any = None) -> None:
        """Save each row that was changed, except for one that is saved next."""
        while self._new:
            _, instance = self._new.popitem()
            instance.save(force_insert=True)
            self.watched(instance)
        for number, (instance, before) in list(self._watched.items()):
            now = _copied(instance)
            if repr(now) != repr(before) and instance is not but:
                instance.save()
                self._watched[number] = (instance, _copied(instance))

    def saved(self, instance: Any, names: Sequence[str]) -> None:
        """Note which of a row's fields its handler has saved."""
        _, before = self._watched[id(instance)]
        now = _copied(instance)
        self._watched[id(instance)] = (
            instance,
            {name: (now if name in names else before).get(name) for name in now},
        )

    def rolled_back(self) -> None:
        self._new.clear()
        self._watched.clear()


def _copied(instance: Any) -> dict[str, Any]:
    return {
        field.attname: (
            bytes(value) if isinstance(value, memoryview) else _frozen(value)
        )
        for field in instance._meta.concrete_fields
        if (value := instance.__dict__.get(field.attname)) is not None
    }


def _frozen(value: Any) -> Any:
    if isinstance(value, FieldFile):
        # It takes the place of a name when it is asked for.
        return str(value)
    return repr(value) if isinstance(value, list | dict) else value


class Doing:
    """
    Does an event's steps.

    Args:
        rows: Returns a model's rows, of either kind.
        plain: Called before a statement that does not go through rows.
        rolled_back: Called when a savepoint was rolled back.
        refreshed: Called with an instance that was read again.

    Attributes:
        caught: What handlers catch around savepoints.
        has_caught: Whether something was refused within one.
    """

    caught: tuple[type[Exception], ...] = (IntegrityError,)

    def __init__(
        self,
        rows: Callable[..., Any],
        plain: Callable[[], None] = lambda: None,
        rolled_back: Callable[[], None] = lambda: None,
        refreshed: Callable[[Any], Any] = lambda instance: None,
    ) -> None:
        self._rows = rows
        self._plain = plain
        self._rolled_back = rolled_back
        self._refreshed = refreshed
        self._held: list[Any] = []
        self.has_caught = False

    def do(self, event: Event) -> None:
        for step in event:
            getattr(self, step[0])(*step[1:])

    def _hold(self, instance: Any) -> Any:
        self._held = [each for each in self._held if each is not instance]
        self._held.insert(0, instance)
        return instance

    def _assign(self, instance: Any, values: dict[str, Any]) -> None:
        self._hold(instance)
        for name, value in values.items():
            setattr(instance, name, value)

    def change(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        instance = self._rows(model).get_or_none(key)
        if instance is not None:
            self._assign(instance, values)

    def get_or_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        if model is Chip:
            values = {"code": 1, **values}
        instance, _ = self._rows(model).get_or_create(key, values)
        self._assign(instance, values)

    def add(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        if model is Chip:
            values = {"code": 1, **values}
        self._hold(self._rows(model).add(model(pk=key, **values)))

    def delete(self, model: Any, key: Any, values: Any) -> None:
        self._rows(model).delete(key)
        self._held.clear()

    def increment(self, model: Any, key: Any, amounts: dict[str, Any]) -> None:
        self._rows(model).increment(key, **amounts)

    def change_by(self, model: Any, name: str, value: Any, values: Any) -> None:
        instance = self._rows(model, name).get_or_none(value)
        if instance is not None:
            self._assign(instance, values)

    def delete_by(self, model: Any, name: str, value: Any, values: Any) -> None:
        self._rows(model, name).delete(value)
        self._held.clear()

    def create_by(self, model: Any, name: str, value: Any, values: Any) -> None:
        if model is not Keeper:
            return
        self._rows(model, name).get_or_create(value, {**values, "name": f"by {value}"})

    def change_held(self, number: int, values: dict[str, Any]) -> None:
        specimens = [each for each in self._held if isinstance(each, Specimen)]
        if number < len(specimens):
            self._assign(specimens[number], values)

    def append(self, key: Any, number: int) -> None:
        instance = self._rows(Specimen).get_or_none(key)
        if instance is not None and isinstance(instance.data, list):
            self._hold(instance).data.append(number)

    def express(self, key: Any, number: int, is_read: bool) -> None:
        """Have the database work out a number of what is there."""
        instance = self._rows(Gauge).get_or_none(key)
        if instance is None:
            return
        instance.level = F("level") + F("width") * number
        self._plain()
        if is_read:
            instance.refresh_from_db()
            self._refreshed(instance)
            self._hold(instance)

    def describe(self, model: Any) -> None:
        """Write down what is seen of rows, to tell what a handler is given."""
        seen = []
        keys = {Keeper: ["Ann", "Bob"], Gauge: [1, 2]}.get(model)
        for key in keys or _specimen_keys():
            instance = self._rows(model).get_or_none(key)
            if instance is not None:
                seen.append(_described(instance))
        if model is not Keeper:
            keeper, _ = self._rows(Keeper).get_or_create("Bob", {})
            keeper.notes = "; ".join(seen)

    def filter(self, keys: list[Any]) -> None:
        found = self._rows(Specimen).filter(pk__in=keys)
        gauge, _ = self._rows(Gauge).get_or_create(3, {})
        gauge.level = len(found)

    def permit(self, name: str, number: int, is_related: bool, specimen: Any) -> None:
        keeper, _ = self._rows(Keeper).get_or_create(name, {})
        whose = {"keeper": keeper} if is_related else {"keeper_id": name}
        # One of a specimen that has got one may be refused.
        permit = Permit(number=number, specimen_id=specimen, **whose)
        self._rows(Permit).add(permit)

    def chip(self, key: Any, code: int) -> None:
        specimen, is_new = self._rows(Specimen).get_or_create(key, {})
        if is_new:
            self._rows(Chip).add(Chip(specimen=specimen, code=code))

    def swap(self, first: str, second: str) -> None:
        """Give a unique value to another row, which has to be free by then."""
        one = self._rows(Keeper).get_or_none(first)
        if one is None:
            return
        badge, one.badge = one.badge, None
        other = self._rows(Keeper).get_or_none(second)
        if other is not None:
            other.badge = badge

    def plain_count(self, model: Any) -> None:
        self._plain()
        count = model.objects.count()
        gauge, _ = self._rows(Gauge).get_or_create(2, {})
        gauge.level = count

    def plain_update(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        self._plain()
        if values:
            model.objects.filter(pk=key).update(**values)

    def plain_delete(self, model: Any, key: Any, values: Any) -> None:
        self._plain()
        model.objects.filter(pk=key).delete()
        self._held.clear()

    def plain_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        self._plain()
        if model is Chip:
            values = {"code": 1, **values}
        model.objects.create(pk=key, **values)

    def plain_raise(self, model: Any, number: int) -> None:
        self._plain()
        if model is Gauge:
            Gauge.objects.update(level=F("level") + number)
        else:
            Keeper.objects.update(rank=F("rank") + number)

    def savepoint(self, steps: list[Step], is_undone: bool) -> None:
        self._plain()
        try:
            with transaction.atomic():
                self.do(steps)
                if is_undone:
                    # What is undone need not be what the database takes.
                    with suppress(Exception):
                        self._plain()
                    raise UndoneError
                self._plain()
        except (UndoneError, *self.caught) as error:
            self.has_caught |= not isinstance(error, UndoneError)
            self._rolled_back()
            self._held.clear()


def _specimen_keys() -> list[Any]:
    from tests.support.walks.steps import SPECIMENS

    return list(SPECIMENS[:2])


def _described(instance: models.Model) -> str:
    return ", ".join(
        f"{field.attname}={_shown(getattr(instance, field.attname))}"
        for field in instance._meta.concrete_fields
        if field.attname not in ("id", "notes")
    )


def _shown(value: Any) -> str:
    if isinstance(value, memoryview | bytes):
        return repr(bytes(value))
    return f"{type(value).__name__}:{value!r}"
