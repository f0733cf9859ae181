"""In which order the changes of a unit of work are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.db import IntegrityError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import checks_references_late, ignores_case
from django_esdb.recorders.rows.entry import UNSET, Entry
from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.values.frozen import thawed
from django_esdb.recorders.rows.values.unique_values import collated

# A model's attribute, by whose value other rows refer to its rows.
_Target = tuple[type[models.Model] | None, str]


@dataclass(eq=False)
class Change:
    """
    A row that will be written.

    Attributes:
        rows: The identity map that it is in.
        entry: The row.
        indexes: Of the columns to set; None for a new row.
        takes_from: What gives up a unique value that this one takes.
        refers_to: New rows that this one refers to.
        added_after: The new row of the same model that was added before.
        level: How many have to be written before it at the most.
    """

    rows: IdentityMap
    entry: Entry
    indexes: tuple[int, ...] | None
    takes_from: list[Change] = field(default_factory=list)
    refers_to: list[Change] = field(default_factory=list)
    added_after: Change | None = None
    level: int = 0


def put_in_order(connection: BaseDatabaseWrapper, changes: Sequence[Change]) -> None:
    """
    Say of each change at which level it is written, the lowest first.

    Raises:
        IntegrityError: Rows exchange unique values, or refer to each other in a circle
            that the database does not take.
    """
    _note_takers(changes)
    _note_references(changes, is_folding=ignores_case(connection))
    if not any(change.takes_from or change.refers_to for change in changes):
        return
    _note_additions(changes)
    ways: list[Callable[[Change], list[Change]]] = [
        lambda change: [*change.takes_from, *change.refers_to]
    ]
    if checks_references_late(connection):
        ways.append(lambda change: change.takes_from)
    for before in ways:
        for is_added_in_order in (True, False):
            try:
                _find_levels(changes, before, is_added_in_order=is_added_in_order)
            except CycleError:
                continue
            return
    msg = (
        f"Rows of {', '.join(sorted(_names_in_circles(changes)))} exchange unique "
        "values or refer to each other in a circle, so none can be written first; give "
        "one of them another value in between"
    )
    raise IntegrityError(msg)


def _note_takers(changes: Sequence[Change]) -> None:
    given_up = {
        (change.rows, number, value): change
        for change in changes
        if change.indexes is not None
        for number, value in change.rows.uniques.given_up(change.entry)
    }
    if not given_up:
        return
    for change in changes:
        for number, value in change.rows.uniques.taken(change.entry):
            before = given_up.get((change.rows, number, value))
            if before is not None and before is not change:
                change.takes_from.append(before)


def _note_references(changes: Sequence[Change], *, is_folding: bool) -> None:
    new_of: dict[Any, list[Change]] = {}
    for change in changes:
        if change.indexes is None:
            new_of.setdefault(change.rows.model, []).append(change)
    known: dict[_Target, dict[Any, Change]] = {}
    for change in changes:
        for target, value in _references(change):
            if target not in known:
                known[target] = {
                    _folded(_value(each, target[1]), is_folding): each
                    for each in new_of.get(target[0], ())
                }
            parent = known[target].get(_folded(value, is_folding))
            if parent is not None and parent is not change:
                change.refers_to.append(parent)


def _references(change: Change) -> Iterator[tuple[_Target, Any]]:
    for reference in change.rows.info.references:
        value = _value(change, reference.attname)
        if value is not None and value is not UNSET:
            # What refers to a proxy refers to the rows of its model.
            model = reference.target._meta.concrete_model
            yield (model, reference.target_attname), value


def _value(change: Change, attname: str) -> Any:
    index = change.rows.index_of.get(attname)
    return change.entry.pk if index is None else thawed(change.entry.current[index])


def _folded(value: Any, is_folding: bool) -> Any:
    """Return what values have in common that a reference may take for the same."""
    if not is_folding or not isinstance(value, str):
        return value
    form = collated(value)
    if form is not None:
        return form
    # Without what is put on letters, as collations compare them at the first level.
    plain = unicodedata.normalize("NFKD", value.rstrip(" "))
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def _note_additions(changes: Sequence[Change]) -> None:
    last: dict[IdentityMap, Change] = {}
    for change in changes:
        if change.indexes is None:
            change.added_after = last.get(change.rows)
            last[change.rows] = change


def _find_levels(
    changes: Sequence[Change],
    before: Callable[[Change], list[Change]],
    *,
    is_added_in_order: bool,
) -> None:
    """Set levels; raises CycleError if there are none."""
    graph: dict[Change, list[Change]] = {}
    for change in changes:
        graph[change] = list(before(change))
        if is_added_in_order and change.added_after is not None:
            graph[change].append(change.added_after)
    levels: dict[Change, int] = {}
    for change in TopologicalSorter(graph).static_order():
        level = 1 + max((levels[each] for each in before(change)), default=-1)
        if is_added_in_order and change.added_after is not None:
            # The same statement inserts both, in this order.
            level = max(level, levels[change.added_after])
        levels[change] = level
    for change, level in levels.items():
        change.level = level


def _names_in_circles(changes: Sequence[Change]) -> set[str]:
    graph = {change: [*change.takes_from, *change.refers_to] for change in changes}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return {change.rows.model.__name__ for change in error.args[1]}
    return set()
