"""Whether it is certain which rows an expression looks at: before or after a change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import NotSupportedError
from django.db.models.expressions import RawSQL
from django.db.models.sql import Query

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.identity_map import IdentityMap


class ExpressionOrder:
    """
    Looks at what expressions are about that rows were assigned.

    An instance does not tell whether it was assigned something before another one was,
    and for what looks at that other row it makes a difference.
    """

    def __init__(self) -> None:
        # What was assigned since the handler's last statement: to which row among which
        # others, and what it is about.
        self._assigned: list[tuple[Entry, IdentityMap, _Tables]] = []

    def __bool__(self) -> bool:
        return bool(self._assigned)

    def assigned(self, rows: IdentityMap, entry: Entry, expression: Any) -> bool:
        """
        Note that a row of these was assigned an expression.

        Returns:
            Whether that was new.
        """
        if any(tables.expression is expression for _, _, tables in self._assigned):
            return False
        tables = _Tables(expression)
        if tables:
            self._assigned.append((entry, rows, tables))
        return True

    def check(self, used: Iterable[IdentityMap]) -> None:
        """
        See to it that the order of what was noted makes no difference.

        Args:
            used: All rows of the unit of work.

        Raises:
            NotSupportedError: An expression is about rows that the event has changed as
                well, with no statement in between.
        """
        for entry, rows, tables in tuple(self._assigned):
            for other in used:
                if other.model._meta.db_table in tables:
                    self._check_others(entry, rows, other)

    def clear(self) -> None:
        """Note that the handler has made a statement, or that its event has ended."""
        self._assigned.clear()

    def _check_others(
        self, but: Entry, rows: IdentityMap, looked_at: IdentityMap
    ) -> None:
        are_assigned = any(
            of is looked_at and entry is not but for entry, of, _ in self._assigned
        )
        if are_assigned or looked_at.changed_now.has_others(but):
            raise _in_no_order(rows, looked_at)


class _Tables:
    """The tables of the queries in an expression, and of those within them."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression
        self._names: set[str] = set()
        # SQL by hand does not tell.
        self._may_be_any = False
        left = [expression]
        while left:
            node = left.pop()
            if isinstance(node, Query):
                self._add(node)
                left += [*node.annotations.values(), node.where, *node.combined_queries]
            elif isinstance(node, RawSQL):
                self._may_be_any = True
            elif hasattr(node, "get_source_expressions"):
                left += [e for e in node.get_source_expressions() if e is not None]

    def __bool__(self) -> bool:
        return self._may_be_any or bool(self._names)

    def __contains__(self, name: str) -> bool:
        return self._may_be_any or name in self._names

    def _add(self, query: Query) -> None:
        if query.model is not None:
            self._names.add(query.model._meta.db_table)
        self._names.update(joined.table_name for joined in query.alias_map.values())
        self._may_be_any |= bool(query.extra or query.extra_tables)


def _in_no_order(rows: IdentityMap, other: IdentityMap) -> NotSupportedError:
    return NotSupportedError(
        f"A {rows.model.__name__} was assigned an expression about rows of "
        f"{other.model.__name__}, of which the same event has changed some, and which "
        "came first is not known; call self.refresh_rows() between the two"
    )
