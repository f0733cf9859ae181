"""One row in the unit of work."""

from __future__ import annotations

from typing import Any, Final

from django.db import models


class _Unset:
    """What a column of a new row has as long as it was not looked at."""


UNSET: Final = _Unset()


class Entry:
    """
    A row in the unit of work.

    Values are lists in the order of the model's columns, frozen, without the primary
    key. An instance is the handler's; only its columns' values outlive the event.

    Attributes:
        pk: The row's primary key; None as long as the database has to choose it.
        instance: What this event was given.
        current: The row's values as of the last event, or the last statement.
        stored: Its values in the database; None for a row that is not there yet.
        read_at: At which of the unit's generations it was read or written; what others
            write begins another one.
        spare: An instance of an earlier event that nothing else holds, to be used
            again.
        is_computed: Whether it has values that only the database can tell.
        is_behind: Whether the instance is older than the row in the database, so that
            saving it writes all of its fields.
        writes_all: Whether all fields have to be written.
        is_unsaved: Whether it is new and was not taken back yet.
        is_being_saved: Whether its own ``save()`` is under way.
    """

    __slots__ = (
        "current",
        "instance",
        "is_behind",
        "is_being_saved",
        "is_computed",
        "is_unsaved",
        "pk",
        "read_at",
        "spare",
        "stored",
        "writes_all",
    )

    def __init__(
        self, pk: Any, instance: models.Model | None, values: list[Any]
    ) -> None:
        self.pk = pk
        self.instance: Any = instance
        self.current = list(values)
        self.stored: list[Any] | None = None
        self.read_at = 0
        self.spare: Any = None
        self.is_computed = False
        self.is_behind = False
        self.writes_all = False
        self.is_unsaved = instance is not None
        self.is_being_saved = False
