"""Doing what random events do with models whose own code does more."""

from __future__ import annotations

import io
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.files.base import File
from django.db import connection
from django.db.models import Case, Exists, F, Subquery, Value, When
from django.db.models.functions import Coalesce

from tests.support.rows_app.garden import Bed, Ledger, Note, Plant, Row, storage
from tests.support.walks.further_doing import FurtherDoing
from tests.support.walks.garden_steps import EXPRESSED, KEYS


class GardenDoing(FurtherDoing):
    """Does an event's steps."""

    def begin(self) -> None:
        for name in storage.listdir("")[1]:
            storage.delete(name)
        Bed.objects.create(pk=1)
        Bed.objects.create(pk=2, size=3)
        Row.objects.create(pk=1, code="a", bed_id=1)
        Row.objects.create(pk=2, code="b", bed_id=1, after_id="a")
        Plant.objects.create(pk=1, bed_id=1)
        Ledger.objects.create(pk=1, amount=1)
        Note.objects.create(pk=1, about=Bed.objects.get(pk=1))

    def _new(self, model: Any, key: Any, values: dict[str, Any]) -> Any:
        if model is Row:
            values = {"code": f"n{key}", **values}
        if model is Note:
            values = {"kind": ContentType.objects.get_for_model(Bed), **values}
        return model(pk=key, **values)

    def get_or_create(self, model: Any, key: Any, values: dict[str, Any]) -> None:
        defaults = {"code": f"n{key}"} if model is Row else {}
        instance, _ = self._rows(model).get_or_create(key, defaults)
        self._assign(instance, values)

    def plain_update_or_create(
        self, model: Any, key: Any, values: dict[str, Any]
    ) -> None:
        self._plain()
        created = {"code": f"n{key}"} if model is Row else {}
        model.objects.update_or_create(pk=key, defaults=values, create_defaults=created)

    def expressions(self, some: list[Any], is_seen: bool) -> None:
        """Assign expressions, to a row each."""
        for model, key in dict.fromkeys((model, key) for model, key, _ in some):
            instance = self._rows(model).get_or_none(key)
            how = next(h for m, k, h in some if (m, k) == (model, key))
            if instance is not None:
                setattr(instance, EXPRESSED[model], _expression(EXPRESSED[model], how))
        # What an instance is left with depends on Django's version.
        self._plain()
        for model, key in dict.fromkeys((model, key) for model, key, _ in some):
            self._rows(model).get_or_none(key)
        if is_seen:
            self.see(some[0][0], "rows")

    def raw(self, model: Any, key: Any, how: str) -> None:
        """Execute a statement by hand."""
        self._plain()
        table = model._meta.db_table
        column = EXPRESSED.get(model, "number")
        with connection.cursor() as cursor:
            if how == "update":
                cursor.execute(f"UPDATE {table} SET {column} = 9 WHERE id = %s", [key])
            elif how == "insert" and model is Ledger:
                cursor.execute(
                    f"INSERT INTO {table} (id, amount, {_quoted('before')}, total) "
                    "VALUES (%s, 2, 0, 0)",
                    [key],
                )
            elif how == "delete" and model in (Note, Ledger):
                cursor.execute(f"DELETE FROM {table} WHERE id = %s", [key])
                self._held.clear()
            else:
                cursor.executemany(
                    f"UPDATE {table} SET {column} = {column} + %s WHERE id = %s",
                    [(1, each) for each in KEYS],
                )

    def file(self, key: Any, how: str, name: str) -> None:
        bed = self._rows(Bed).get_or_none(key)
        if bed is None:
            return
        self._hold(bed)
        content = File(io.BytesIO(f"{key} {how}".encode()), name=name)
        if how == "assign":
            bed.plan = content
        elif how == "save":
            bed.plan.save(name, content, save=False)
        elif how == "save alone":
            self._save_others(bed)
            bed.plan.save(name, content)
            self._saved(bed, None)
        elif how == "delete" and bed.plan:
            bed.plan.delete(save=False)
        elif how == "read" and bed.plan and storage.exists(bed.plan.name):
            with bed.plan.open() as file:
                bed.size += len(file.read())

    def note(self, key: Any, other: Any, way: str) -> None:
        """Have a note be about a row."""
        bed = None
        if way == "rows":
            bed = self._rows(Bed).get_or_none(other)
        elif way == "new":
            bed, _ = self._rows(Bed).get_or_create(other, {})
        note = self._rows(Note).get_or_none(key)
        if note is not None:
            self._hold(note)
            note.about = bed

    def note_by_manager(self, key: Any, other: Any) -> None:
        bed = self._rows(Bed).get_or_none(key)
        if bed is not None:
            self._hold(bed)
            self._plain()
            bed.notes.filter(pk=other).delete()
            bed.notes.create(pk=other)

    def see(self, model: Any, how: str) -> None:
        """Write down what is seen of rows."""
        if how == "rows":
            found = [self._rows(model).get_or_none(key) for key in KEYS]
        elif how == "each":
            self._plain()
            found = []
            for each in model.objects.order_by("pk").iterator(chunk_size=1):
                found.append(self._rows(model).get_or_none(each.pk))
        elif how == "in_bulk":
            self._plain()
            found = list(model.objects.in_bulk(KEYS).values())
            found.sort(key=lambda each: each.pk)
        else:
            self._plain()
            found = list(model.objects.select_for_update().order_by("pk"))
        number = EXPRESSED.get(model, "number")
        seen = sum(int(getattr(each, number) or 0) for each in found if each)
        ledger, _ = self._rows(Ledger).get_or_create(3, {})
        ledger.amount = seen % 1000


def _expression(name: str, how: str) -> Any:
    if how == "add":
        return F(name) + 1
    if how == "case":
        return Case(When(**{f"{name}__gt": 1}, then=Value(2)), default=F(name))
    if how == "value":
        return Value(4)
    rows = Bed.objects.filter(pk=1)
    if how == "exists":
        return Case(When(Exists(rows), then=Value(3)), default=Value(0))
    return Coalesce(Subquery(rows.values("size")[:1]), 0)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
