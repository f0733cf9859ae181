"""Instances that a handler holds beyond their event."""

from __future__ import annotations

from typing import Any

from django.db import NotSupportedError, models

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.instances.instances import Instances
from django_esdb.recorders.rows.schema.model_info import ModelInfo
from django_esdb.recorders.rows.values.frozen import are_same


class KeptInstances:
    """
    Sees to it that no change through an instance of an earlier event is lost silently.

    Args:
        info: What is known of the model.
        instances: What compares its instances.

    Attributes:
        by_entry: The instances, with their values, by the row.
    """

    def __init__(self, info: ModelInfo, instances: Instances) -> None:
        self._info = info
        self._instances = instances
        # Each with the values that it had at its event's end.
        self.by_entry: dict[Entry, tuple[models.Model, list[Any]]] = {}

    def keep(self, entry: Entry, instance: models.Model) -> None:
        """Note that something holds a row's instance."""
        self.by_entry[entry] = (instance, self._instances.frozen(instance))

    def of(self, entry: Entry) -> models.Model | None:
        """Return the instance of a row that something holds."""
        instance: models.Model | None = self.by_entry.get(entry, (None,))[0]
        return instance

    def taken(self, entry: Entry) -> models.Model | None:
        """
        Return an instance to hand out once more; None if there is none.

        Raises:
            NotSupportedError: It was changed meanwhile.
        """
        self._check(entry)
        instance: models.Model | None = self.by_entry.pop(entry, (entry.spare,))[0]
        return instance

    def forget(self, entry: Entry) -> None:
        """Forget a row's instance."""
        self.by_entry.pop(entry, None)

    def check(self) -> None:
        """
        Look whether one was changed.

        Raises:
            NotSupportedError: It was, and would not be written.
        """
        for entry in self.by_entry:
            self._check(entry)

    def _check(self, entry: Entry) -> None:
        instance, values = self.by_entry.get(entry, (None, None))
        if instance is None or values is None:
            return
        now = self._instances.frozen(instance)
        # The handler may have saved it by itself.
        if not are_same(values, now) and not are_same(entry.current, now):
            msg = (
                f"{self._info.model.__name__} {entry.pk!r} was changed through an "
                "instance of an earlier event, which is not written; get the row again"
            )
            raise NotSupportedError(msg)
