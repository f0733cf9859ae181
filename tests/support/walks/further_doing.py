"""Doing what random events do with more of Django."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, models, transaction
from django.db.models import Case, F, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from tests.support.rows_app import park
from tests.support.rows_app.park import (
    Kiosk,
    Label,
    Meadow,
    OldPlace,
    Place,
    Rope,
    Seen,
    Stall,
    Ticket,
    Trail,
)
from tests.support.walks.doing import Doing, Plain, PlainRows
from tests.support.walks.further_steps import TRAILS


class FurtherPlain(Plain):
    """The plain way, which refuses the models that rows refuse."""

    def rows(self, model: type[Any], key: str = "pk") -> PlainRows:
        if len(getattr(model._meta, "pk_fields", (1,))) > 1 or model in (
            Kiosk,
            OldPlace,
        ):
            raise NotImplementedError
        return super().rows(model, key)


class FurtherDoing(Doing):
    """Does an event's steps, with more of Django."""

    caught = (IntegrityError, DataError, ValueError, ValidationError, ArithmeticError)

    def __init__(self, *args: Any, later: Callable[[Any], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = later

    def begin(self) -> None:
        """Make rows to begin with."""
        for number in TRAILS[:2]:
            Trail.objects.create(pk=number, parent_id=number - 1 or None)
        Stall.objects.create(pk="s1", trail_id=1, spot=1)
        Label.objects.create(pk="red")
        Ticket.objects.create(pk=1, stall_id="s1")
        Place.objects.create(pk=1, name="oak")
        Kiosk.objects.create(pk=2, name="elm")

    # Rows

    def create_else(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        """Make a row with values that functions give."""
        made = {name: (lambda value=value: value) for name, value in values.items()}
        rows = self._rows(model)
        if isinstance(rows, PlainRows):
            made = {name: value() for name, value in made.items()}
        if model is Place:
            made = {"name": f"n{key}", **made}
        instance, _ = rows.get_or_create(key, made)
        self._hold(instance)

    def get_or_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        defaults = {"name": f"n{key}"} if model is Place else {}
        instance, _ = self._rows(model).get_or_create(key, defaults)
        self._assign(instance, values)

    def add(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        self._hold(self._rows(model).add(self._new(model, key, values)))

    def _new(self, model: Any, key: Any, values: dict[str, Any]) -> Any:
        if model is Place:
            values = {"name": f"n{key}", **values}
        return model(pk=key, **values)

    def again(self, model: Any, key: Any, values: dict[str, Any], way: str) -> None:
        """Delete a row and add another one with its key."""
        if way == "rows":
            self._rows(model).delete(key)
        else:
            self._plain()
            model.objects.filter(pk=key).delete()
        self._held.clear()
        self.add(model, key, values)

    def savepoint(self, steps: list[Any], is_undone: bool) -> None:
        self._plain()
        # What is refused of what was before is not to be caught with what is inside.
        Seen.objects.exists()
        super().savepoint(steps, is_undone)

    def relate(
        self, model: Any, key: Any, name: str, target: Any, other: Any, way: str
    ) -> None:
        if way == "rows":
            related = self._rows(target).get_or_none(other)
        elif way == "plain":
            self._plain()
            related = target.objects.filter(pk=other).first()
        elif way == "unsaved":
            related = target(pk=other)
        else:
            related = self._rows(target).get_or_create(other, {})[0]
        instance = self._rows(model).get_or_none(key)
        if instance is not None:
            self._hold(instance)
            setattr(instance, name, related)

    # Single instances

    def held(
        self,
        model: Any,
        key: Any,
        how: str,
        first: dict[str, Any],
        second: dict[str, Any],
    ) -> None:
        """Do with an instance what is no business of rows."""
        instance = self._rows(model).get_or_none(key)
        if instance is None:
            return
        self._assign(instance, first)
        if how == "nothing":
            self._plain()
            self._seen(model.objects.count())
        elif how == "refresh":
            self._plain()
            instance.refresh_from_db()
            self._refreshed(instance)
        elif how == "refresh_fields":
            self._plain()
            instance.refresh_from_db(fields=sorted(first)[:1])
            self._refreshed(instance)
        elif how == "refresh_deferred":
            for name in sorted(first)[:1]:
                # Django reads it when it is asked for.
                self._seen(model.objects.count())
                del instance.__dict__[name]
                getattr(instance, name)
                self._refreshed(instance)
        elif how == "delete":
            self._plain()
            self._forgotten(instance)
            instance.delete()
            self._held.clear()
            return
        elif how in ("copy", "other_key"):
            self._plain()
            instance.pk = None if how == "copy" else 3
            instance._state.adding = True
            instance.save()
            self._refreshed(instance)
        else:
            self._save_others(instance)
            options: dict[str, Any] = {
                "save": {},
                "update_fields": {"update_fields": sorted(first)},
                "force_update": {"force_update": True},
                "force_insert": {"force_insert": True},
            }[how]
            instance.save(**options)
            self._saved(instance, options.get("update_fields"))
        self._assign(instance, second)

    def _save_others(self, instance: Any) -> None:
        """Have the plain way save what was changed, but for what is saved next."""
        plain = getattr(self._plain, "__self__", None)
        if isinstance(plain, Plain):
            plain.save(but=instance)

    def _saved(self, instance: Any, names: list[str] | None) -> None:
        plain = getattr(self._plain, "__self__", None)
        if isinstance(plain, Plain) and names is not None:
            plain.saved(instance, names)
        else:
            self._refreshed(instance)

    def look_up(self, key: Any, number: int) -> None:
        """Have the database work out a number of what is in another table."""
        instance = self._rows(Place).get_or_none(key)
        if instance is not None:
            price = Ticket.objects.filter(pk=number).values("price")
            instance.seats = Coalesce(Subquery(price[:1]), 0)

    def _forgotten(self, instance: Any) -> None:
        plain = getattr(self._plain, "__self__", None)
        if isinstance(plain, Plain):
            plain.unwatch(instance)

    def deferred(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        """Change a row through an instance that has one field only."""
        self._plain()
        found = model.objects.only("pk", *sorted(values)[:1]).filter(pk=key).first()
        if found is not None:
            for name, value in values.items():
                setattr(found, name, value)
            found.save()

    # Query sets

    def plain_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        self._plain()
        self._new(model, key, values).save(force_insert=True)

    def plain_get_or_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        self._plain()
        defaults = {"name": f"n{key}", **values} if model is Place else values
        _, is_new = model.objects.get_or_create(pk=key, defaults=defaults)
        self._seen(is_new)

    def plain_update_or_create(
        self, model: Any, key: Any, values: dict[str, Any]
    ) -> None:
        self._plain()
        created = {"name": f"n{key}"} if model is Place else {}
        _, is_new = model.objects.update_or_create(
            pk=key, defaults=values, create_defaults=created
        )
        self._seen(is_new)

    def bulk_create(
        self, model: Any, keys: list[Any], values: dict[str, Any], how: Any
    ) -> None:
        self._plain()
        new = [self._new(model, key, values) for key in keys]
        options: dict[str, Any] = {}
        if isinstance(how, list):
            options = {"update_conflicts": True, "update_fields": how}
            if model.objects.all().db and self._names_conflicts():
                options["unique_fields"] = [model._meta.pk.name]
        elif how:
            options = {"ignore_conflicts": True}
        model.objects.bulk_create(new, **options)

    def _names_conflicts(self) -> bool:
        from django.db import connection

        return connection.features.supports_update_conflicts_with_target

    def bulk_update(
        self, model: Any, keys: list[Any], values: dict[str, Any], way: str
    ) -> None:
        if not values:
            return
        found = self._some(model, keys, way)
        for instance in found:
            for name, value in values.items():
                setattr(instance, name, value)
        self._plain()
        self._seen(model.objects.bulk_update(found, sorted(values)))

    def _some(self, model: Any, keys: list[Any], way: str) -> list[Any]:
        if way == "plain":
            self._plain()
            return list(model.objects.filter(pk__in=keys).order_by("pk"))
        found = []
        for key in dict.fromkeys(map(model._meta.pk.to_python, keys)):
            instance = self._rows(model).get_or_none(key)
            if instance is not None and instance not in found:
                found.append(instance)
        return found

    def update_by(self, how: str) -> None:
        self._plain()
        if how == "case":
            Place.objects.update(
                seats=Case(When(name="oak", then=F("seats") + 1), default=Value(0))
            )
        elif how == "subquery":
            Stall.objects.update(
                low=Coalesce(
                    Subquery(
                        Trail.objects.filter(pk=OuterRef("trail_id")).values("length")[
                            :1
                        ]
                    ),
                    0,
                )
            )
        elif how == "f":
            Ticket.objects.update(price=F("price") * 2, version=F("version") + 1)
        else:
            Trail.objects.filter(parent__isnull=False).update(length=F("length") + 1)

    # Relations

    def manage(
        self, model: Any, key: Any, name: str, how: str, keys: list[Any], way: str
    ) -> None:
        instance = self._rows(model).get_or_none(key)
        if instance is None:
            return
        self._hold(instance)
        manager = getattr(instance, name)
        others = self._some(manager.model, keys, way)
        self._plain()
        if how == "read":
            self._seen([str(each.pk) for each in manager.order_by("pk")])
        elif how == "clear":
            manager.clear()
        elif how == "update":
            manager.update(**{manager.model._meta.fields[1].attname: 1})
        elif how == "create":
            self._created(manager, keys[0])
        elif how == "set":
            manager.set(others)
        else:
            getattr(manager, how)(*others)

    def _created(self, manager: Any, key: Any) -> None:
        created = manager.create(pk=key)
        self._seen(created.pk)

    # Other models

    def kiosk(self, how: str, key: Any, values: dict[str, Any]) -> None:
        self._plain()
        getattr(self, f"_{how}")(key, values)

    def _kiosk(self, key: Any, values: dict[str, Any]) -> None:
        Kiosk.objects.create(pk=key, **{"name": f"n{key}", **values})

    def _meadow(self, key: Any, values: dict[str, Any]) -> None:
        Meadow.objects.create(place_id=key, id=key, **{"name": f"n{key}", **values})

    def _kiosk_update(self, key: Any, values: dict[str, Any]) -> None:
        Kiosk.objects.filter(pk=key).update(goods="tea", **values)

    def _kiosk_delete(self, key: Any, values: dict[str, Any]) -> None:
        Kiosk.objects.filter(pk=key).delete()

    def _kiosk_save(self, key: Any, values: dict[str, Any]) -> None:
        for found in Kiosk.objects.filter(pk=key):
            for name, value in values.items():
                setattr(found, name, value)
            found.save()

    def _old(self, key: Any, values: dict[str, Any]) -> None:
        OldPlace.objects.create(pk=key, **{"name": f"n{key}", **values})

    def _old_update(self, key: Any, values: dict[str, Any]) -> None:
        OldPlace.objects.filter(pk=key).update(**{"seats": 8, **values})

    def _old_delete(self, key: Any, values: dict[str, Any]) -> None:
        OldPlace.objects.filter(pk=key).delete()

    def _promote(self, key: Any, values: dict[str, Any]) -> None:
        """Make a row of one table one of two."""
        found = Place.objects.filter(pk=key).first()
        if found is not None:
            kiosk = Kiosk(place_ptr=found)
            kiosk.__dict__.update(
                {f.attname: getattr(found, f.attname) for f in Place._meta.fields}
            )
            kiosk.save()

    def _seat(self, key: Any, values: dict[str, Any]) -> None:
        if hasattr(park, "Seat"):
            park.Seat.objects.create(place_id=key, number=1)

    def _seat_update(self, key: Any, values: dict[str, Any]) -> None:
        if hasattr(park, "Seat"):
            park.Seat.objects.filter(pk=(key, 1)).update(is_taken=True)

    def refused(self, name: str) -> None:
        model = getattr(park, name, None)
        if model is not None:
            self._rows(model).get_or_none(1)

    # What is seen

    def ask(self, model: Any, how: str) -> None:
        if how == "rows":
            keys = [1, 2] if model in (Trail, Ticket, Rope, Place) else ["s1", "red"]
            found = [
                self._rows(model).get_or_none(key)
                for key in keys
                if isinstance(key, str) == (model in (Stall, Label))
            ]
            self._seen([None if each is None else _values(each) for each in found])
            return
        self._plain()
        rows = model.objects.order_by("pk")
        number = next(
            f.attname
            for f in model._meta.fields[1:]
            if isinstance(f, models.IntegerField | models.JSONField)
        )
        answers: dict[str, Callable[[], Any]] = {
            "count": rows.count,
            "exists": rows.filter(**{f"{number}__isnull": False}).exists,
            "aggregate": lambda: Trail.objects.aggregate(Sum("length")),
            "values": lambda: list(rows.values_list("pk", number)),
            "iterator": lambda: [each.pk for each in rows.iterator(chunk_size=1)],
            "union": lambda: sorted(
                map(
                    str,
                    model.objects.values_list("pk").union(
                        Place.objects.values_list("pk")
                    )
                    if model in (Trail, Rope, Ticket)
                    else rows.values_list("pk"),
                )
            ),
            "in_bulk": lambda: sorted(map(str, model.objects.in_bulk())),
            "select_for_update": lambda: len(rows.select_for_update()),
            "related": lambda: [
                (each.pk, each.trail and each.trail.length)
                for each in Stall.objects.select_related("trail").order_by("pk")
            ],
            "first": lambda: getattr(rows.first(), number, None),
            "raw": lambda: len(
                list(model.objects.raw(f"SELECT * FROM {model._meta.db_table}"))
            ),
            "dates": lambda: list(Stall.objects.datetimes("changed", "second")),
        }
        self._seen(answers[how]())

    def later(self, number: int) -> None:
        held = self._held[0] if self._held else None

        def call() -> None:
            if held is None:
                self._later((number, "", ""))
            else:
                about = f"{type(held).__name__} {held.pk}"
                self._later((number, about, _values(held)))

        transaction.on_commit(call)

    def _seen(self, what: Any) -> None:
        self._plain()
        Seen.objects.create(text=repr(what))


def _values(instance: models.Model) -> str:
    return ", ".join(
        f"{field.attname}={_shown(getattr(instance, field.attname))}"
        for field in instance._meta.concrete_fields
    )


def _shown(value: Any) -> str:
    # Such as a database default, whose text says where it lies in memory.
    is_expression = hasattr(value, "resolve_expression")
    return f"{type(value).__name__}:{'' if is_expression else value}"
