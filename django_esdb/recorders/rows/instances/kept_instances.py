"""Instances that something holds beyond their event."""

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

    Such an instance is not handed out again: what holds it, such as a function that is
    called after the commit, finds it as its event has left it.

    Args:
        info: What is known of the model.
        instances: What compares its instances.

    Attributes:
        by_entry: The instances, by the row, oldest first.
    """

    def __init__(self, info: ModelInfo, instances: Instances) -> None:
        self._info = info
        self._instances = instances
        self.by_entry: dict[Entry, list[_Kept]] = {}

    def __len__(self) -> int:
        return len(self.by_entry)

    def keep(self, entry: Entry, instance: models.Model) -> None:
        """Note that something holds a row's instance."""
        kept = _Kept(instance, self._instances.frozen(instance))
        self.by_entry.setdefault(entry, []).append(kept)

    def of(self, entry: Entry) -> list[models.Model]:
        """Return the instances of a row that something holds."""
        return [kept.instance for kept in self.by_entry.get(entry, ())]

    def forget(self, entry: Entry) -> None:
        """Forget a row's instances."""
        self.by_entry.pop(entry, None)

    def saved(self, instance: models.Model) -> None:
        """Note that a handler is saving an instance by itself."""
        for each in self.by_entry.values():
            for kept in each:
                if kept.instance is instance:
                    kept.values = self._instances.frozen(instance)

    def check_last(self, entry: Entry) -> None:
        """
        Look whether the last one of a row was changed.

        Raises:
            NotSupportedError: It was, and would not be written.
        """
        kept = self.by_entry.get(entry)
        if kept is not None:
            self._check(entry, kept[-1])

    def check(self) -> None:
        """
        Look whether any was changed.

        Raises:
            NotSupportedError: One was, and would not be written.
        """
        for entry, each in self.by_entry.items():
            for kept in each:
                self._check(entry, kept)

    def _check(self, entry: Entry, kept: _Kept) -> None:
        now = self._instances.frozen(kept.instance)
        if are_same(kept.values, now):
            return
        # The handler may have read it again.
        if not are_same(entry.current, now):
            msg = (
                f"{self._info.model.__name__} {entry.pk!r} was changed through an "
                "instance of an earlier event, which is not written; get the row again"
            )
            raise NotSupportedError(msg)
        kept.values = now


class _Kept:
    """
    An instance that something holds.

    Attributes:
        instance: The instance.
        values: What it had when its event ended.
    """

    __slots__ = ("instance", "values")

    def __init__(self, instance: models.Model, values: list[Any]) -> None:
        self.instance = instance
        self.values = values
