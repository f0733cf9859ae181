"""What ``self.rows(Model)`` returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

from django.db import models

from django_esdb.recorders.rows.identity_map import IdentityMap

M = TypeVar("M", bound=models.Model)


class Rows(Generic[M]):
    """
    A model's rows within a transaction, by primary key or another unique field.

    An instance is the row's only one here: change its attributes, and what has
    changed is written with the batch. ``save()`` is not called and sends no
    signals, as with Django's bulk methods.
    """

    def __init__(self, table: IdentityMap, key: str = "pk") -> None:
        self._table = table
        self._key = "pk" if key in ("pk", table.info.pk.name) else key
        if self._key != "pk":
            field = table.model._meta.get_field(key)
            if not getattr(field, "unique", False):
                msg = f"{table.model.__name__}.{key} is not unique, so it is no key"
                raise ValueError(msg)

    def get(self, key: Any) -> M:
        """
        Return the row with this key.

        Raises:
            Model.DoesNotExist: There is none.
        """
        entry = self._table.find(self._key, key)
        if entry is None:
            raise self._table.missing(key)
        return cast("M", entry.instance)

    def get_or_none(self, key: Any) -> M | None:
        """Return the row with this key, None if there is none."""
        entry = self._table.find(self._key, key)
        return None if entry is None else cast("M", entry.instance)

    def get_or_create(
        self, key: Any, defaults: dict[str, Any] | None = None
    ) -> tuple[M, bool]:
        """
        Return the row with this key, and whether it is a new one.

        Args:
            key: The key; a new row gets it.
            defaults: Values of the other fields of a new row.
        """
        instance = self.get_or_none(key)
        if instance is not None:
            return instance, False
        model = cast("type[M]", self._table.model)
        key = self._table.normalised(self._key, key)
        return self.add(model(**{self._key: key, **(defaults or {})})), True

    def add(self, instance: M) -> M:
        """
        Add a new row and return it.

        Raises:
            TypeError: It is of another model.
            IntegrityError: A row with its primary key is known. One that is
                not known here is found when the batch is written.
        """
        if not isinstance(instance, self._table.model):
            msg = f"{instance!r} is no {self._table.model.__name__}"
            raise TypeError(msg)
        self._table.add(instance)
        return instance

    def delete(self, key: Any) -> bool:
        """
        Delete the row with this key, or the given instance.

        Returns:
            Whether there was one.
        """
        field_name = self._key
        if isinstance(key, self._table.model):
            key, field_name = key.pk, "pk"
        entry = self._table.find(field_name, key)
        if entry is None:
            return False
        self._table.delete(entry)
        return True

    def filter(self, *, pk__in: Iterable[Any]) -> list[M]:
        """Return the rows that there are of these primary keys, in their order."""
        keys = [self._table.normalised("pk", key) for key in pk__in]
        self._table.load_all("pk", keys)
        entries = (self._table.find("pk", key) for key in dict.fromkeys(keys))
        return [cast("M", entry.instance) for entry in entries if entry is not None]

    def increment(self, key: Any, **amounts: Any) -> None:
        """
        Add to fields of the row with this key; it is made if it is not there.

        However often it is called, a batch reads and writes the row once.

        Args:
            key: The row's key.
            amounts: What to add, by name of the field.
        """
        for name in amounts:
            self._table.model._meta.get_field(name)
        self._table.increment(self._key, key, amounts)
