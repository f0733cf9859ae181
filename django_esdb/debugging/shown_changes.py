"""Changes of rows, as people read them: which fields differ, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django_esdb.debugging.values import plain
from django_esdb.debugging.watch import Change, are_alike
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import LONGEST_NAME, one_line

INSERTED, UPDATED, DELETED = "inserted", "updated", "deleted"
NOTHING = "-"
_LONGEST_VALUE = 500


@dataclass(frozen=True)
class ShownChange:
    """
    What became of a row, in texts that can be shown.

    Attributes:
        kind: ``inserted``, ``updated`` or ``deleted``.
        model: Label of its model, or the table's name.
        pk: Its primary key; empty without one.
        fields: Those that differ, all of them of a row that is inserted or deleted:
            name, value before and after.
    """

    kind: str
    model: str
    pk: str
    fields: tuple[tuple[str, str, str], ...]


def shown_change(change: Change) -> ShownChange:
    """Return a change in texts, without secrets; long values are cut."""
    kind = UPDATED
    if change.before is None:
        kind = INSERTED
    elif change.after is None:
        kind = DELETED
    pk = "" if change.pk is None else shown(_text(plain(change.pk)), LONGEST_NAME)
    return ShownChange(kind, change.model, pk, tuple(_fields(change)))


def _fields(change: Change) -> Iterator[tuple[str, str, str]]:
    before, after = change.before or {}, change.after or {}
    for name in before or after:
        is_there = name in before and name in after
        if not is_there or not are_alike(before[name], after[name]):
            yield name, _value(before, name), _value(after, name)


def _value(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return NOTHING
    text = json.dumps(plain(row[name], name), ensure_ascii=False)
    return one_line(text, _LONGEST_VALUE)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
