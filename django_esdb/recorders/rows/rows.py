"""What ``self.rows(Model)`` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast

from django.db import NotSupportedError, models

from django_esdb.db.fields import has_changeable_values
from django_esdb.recorders.rows.identity_map import IdentityMap

M = TypeVar("M", bound=models.Model)


class Rows(Generic[M]):
    """
    A model's rows within a transaction, by primary key or another unique field.

    An instance is the row's only one in an event: change its attributes, and what has
    changed is written as if it was saved before the next statement and when the event
    ends. Get the row again in the next event.
    """

    def __init__(self, identity_map: IdentityMap, key: str = "pk") -> None:
        self._map = identity_map
        self._names = frozenset(f.name for f in identity_map.info.fields)
        info = identity_map.info
        if key in ("pk", info.pk.name, info.pk.attname):
            self._key = "pk"
            return
        field = info.model._meta.get_field(key)
        if not getattr(field, "unique", False):
            msg = f"{info.model.__name__}.{key} is not unique, so it is no key"
            raise ValueError(msg)
        if has_changeable_values(field):
            msg = (
                f"rows({info.model.__name__}, key={key!r}) is not possible: by values "
                f"of a {type(field).__name__} no row is found in memory; use another "
                "key"
            )
            raise NotSupportedError(msg)
        self._key = info.attname(key)

    def get(self, key: Any) -> M:
        """
        Return the row with this key.

        Raises:
            Model.DoesNotExist: There is none.
        """
        entry = self._map.find(self._key, key)
        if entry is None:
            raise self._map.missing(key)
        instance: M = entry.instance
        return instance

    def get_or_none(self, key: Any) -> M | None:
        """Return the row with this key, None if there is none."""
        entry = self._map.find(self._key, key)
        return None if entry is None else entry.instance

    def get_or_create(
        self,
        key: Any,
        defaults: Mapping[str, Any | Callable[[], Any]] | None = None,
    ) -> tuple[M, bool]:
        """
        Return the row with this key, and whether it is a new one.

        Args:
            key: The key; a new row gets it.
            defaults: Values of the other fields of a new row, or functions that make
                them.
        """
        entry = self._map.find(self._key, key)
        if entry is not None:
            return entry.instance, False
        return self._made(key, defaults or {}), True

    def _made(self, key: Any, defaults: Mapping[str, Any]) -> M:
        model = cast("type[M]", self._map.model)
        attname = self._map.info.pk.attname if self._key == "pk" else self._key
        values = {
            name: value() if callable(value) else value
            for name, value in defaults.items()
        }
        values = {attname: self._map.keys.normalised(self._key, key), **values}
        return self.add(model(**values))

    def add(self, instance: M) -> M:
        """
        Add a new row and return it.

        Raises:
            TypeError: It is of another model.
            IntegrityError: A row with its primary key is known. One that is
                not known here is found when the row is written.
        """
        if type(instance) is not self._map.model:
            msg = f"{instance!r} is no {self._map.model.__name__}"
            raise TypeError(msg)
        self._map.add(instance)
        return instance

    def delete(self, key: Any) -> bool:
        """
        Delete the row with this key, or the given instance.

        Returns:
            Whether there was one.
        """
        attname = self._key
        if isinstance(key, self._map.model):
            if key.pk is None:
                # The database has to see it, to be asked to delete it.
                self._map.unit.flush()
            key, attname = key.pk, "pk"
        is_none = key is None and attname == "pk"
        entry = None if is_none else self._map.find(attname, key)
        if entry is None:
            return False
        self._map.delete(entry)
        return True

    def filter(self, *, pk__in: Iterable[Any]) -> list[M]:
        """Return the rows that there are of these primary keys, in their order."""
        keys = [self._map.keys.sought("pk", key) for key in pk__in]
        self._map.keys.load_all("pk", keys)
        entries = (self._map.find("pk", key) for key in keys)
        found = dict.fromkeys(entry for entry in entries if entry is not None)
        return [entry.instance for entry in found]

    def increment(self, key: Any, **amounts: Any) -> None:
        """
        Add to fields of the row with this key; it is made if it is not there.

        It is the same as to get the row and assign the sums.

        Args:
            key: The row's key.
            amounts: What to add, by name of the field.
        """
        if self._key == "pk" and self._map.increment(key, amounts):
            return
        for name in amounts:
            if name not in self._names:
                # Raises where there is no such field.
                self._map.info.attname(name)
        entry = self._map.find(self._key, key)
        instance = self._made(key, {}) if entry is None else entry.instance
        for name, amount in amounts.items():
            setattr(instance, name, getattr(instance, name) + amount)
