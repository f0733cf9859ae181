"""What the parts of a unit of work need of each other, without importing in circles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.recorders.rows.block import Block
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.instances.instances import Instances
from django_esdb.recorders.rows.schema.model_info import ModelInfo, Reference
from django_esdb.recorders.rows.schema.triggered import Triggers
from django_esdb.recorders.rows.values.columns import Column
from django_esdb.recorders.rows.values.unique_values import UniqueValues


class FoundTargets(Protocol):
    """What references were found to lead to."""

    def exists(self, reference: Reference, value: Any) -> bool:
        """Return whether a reference leads to a row."""

    def is_there(self, model: type[models.Model], pk: Any) -> bool:
        """Return whether the database has a row."""

    def forget(self) -> None:
        """Trust nothing that was found before."""


class Work(Protocol):
    """What an identity map needs of the unit of work that it is part of."""

    using: str
    connection: BaseDatabaseWrapper
    generation: int
    stretch: int
    has_own_saves: bool
    being_saved: Collection[int]
    own_statements: Block
    saving_one: Block
    trusting_references: Block
    triggers: Triggers
    targets: FoundTargets
    turn: Callable[[], int]

    def keys_of(self, model: type[models.Model], /) -> Iterable[Any]:
        """Return the keys that the batch's events will likely ask for."""

    def flush(self) -> None:
        """Take back what is in hand, and write everything that is pending."""

    def holds_own_saves(self) -> bool:
        """Return whether the event has rows in hand that models' own code saves."""

    def take_back_in_turn(self) -> None:
        """Take back what is in hand, in the order in which the event has got it."""

    def write(self) -> None:
        """Write everything that is pending."""

    def prepare_for(self, rows: Any, entry: Entry, expression: Any) -> None:
        """Write what an expression that a row was assigned is about."""

    def write_taken_back(self) -> None:
        """Write what is pending, and leave to the event what it has in hand."""

    def read_again_for_another_filter(self) -> None:
        """Trust nothing that was loaded, and leave alone what the event has in hand."""

    def read_again(self) -> None:
        """Write what is pending, and trust nothing that was loaded."""

    def is_new_elsewhere(self, instance: models.Model) -> bool:
        """Return whether an instance is a new row whose key is not known yet."""

    def has_added(self, instance: models.Model) -> bool:
        """Return whether an instance is a row's that is in hand."""

    def note_deleted(self, rows: Any, entry: Entry) -> None:
        """Note that an event has deleted a row that it has in hand."""

    def look_at_rules(self) -> None:
        """Have the database look when the event ends at what it would look at late."""


class NotedChanges(Protocol):
    """What was changed since the handler's last statement."""

    def note_written(self, entry: Entry | None, stretch: int) -> None:
        """Note that a change is in the database; None for a deletion."""

    def has_others(self, but: Entry) -> bool:
        """Return whether another row was changed or deleted."""


class KnownRows(Protocol):
    """What finding a model's rows needs of their identity map."""

    unit: Work
    model: type[models.Model]
    info: ModelInfo
    instances: Instances
    columns: list[Column]
    index_of: dict[str, int]
    uniques: UniqueValues
    entries: dict[Any, Entry]
    unkeyed: dict[Entry, Any]
    deleted: dict[Any, int]
    dirty: dict[Entry, int]
    in_hand: dict[Entry, int]
    changed_now: NotedChanges

    def is_outdated(self, entry: Entry) -> bool:
        """Return whether the database knows better what a row is."""

    def forget(self, entry: Entry) -> None:
        """Know nothing of a row any more."""

    def keyed(self, entry: Entry, pk: Any) -> None:
        """Note the key that the database has chosen."""

    def take_back_new(self) -> None:
        """Take back the new rows that this event has in hand."""

    def wanted_keys(self, attname: str) -> Iterator[Any]:
        """Yield the keys that the batch's events will likely ask for."""
