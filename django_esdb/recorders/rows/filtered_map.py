"""Rows of a model whose manager leaves some out, by more than what is in a row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql.where import WhereNode

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.identity_map import IdentityMap

# Such values are not other ones at another time, as times may be.
_CONSTANTS = (bool, int, float, str, bytes, Decimal, UUID, type(None))


class FilteredIdentityMap(IdentityMap):
    """
    An identity map that looks again what the manager finds, if need be.

    A row that depends on other rows, or on the time, may be there for one event and not
    for the next one though it is the same. So may one that depends on what the manager
    is told elsewhere, such as whose rows they are.
    """

    _filter: Any = None

    def find(self, attname: str, key: Any) -> Entry | None:
        """Return the row with this value, if the manager finds it by now."""
        query = self.model._default_manager.all().query
        is_other = query.where != self._filter and self._filter is not None
        self._filter = query.where
        if query.where and not self.is_read_back:
            self.is_read_back = is_other = True
            self.choose_ways()
        if not _is_about_rows_alone(query):
            self.unit.read_again()
        elif is_other:
            self.unit.read_again_for_another_filter()
        return super().find(attname, key)


def _is_about_rows_alone(query: Any) -> bool:
    if query.is_sliced or query.distinct or query.combinator:
        return False
    table = query.model._meta.db_table
    return all(_is_constant(each, table) for each in query.where.children)


def _is_constant(condition: Any, table: str) -> bool:
    if isinstance(condition, WhereNode):
        return all(_is_constant(each, table) for each in condition.children)
    return (
        isinstance(condition, Lookup)
        and isinstance(condition.lhs, Col)
        # Joined tables have another name, also if it is the same table.
        and condition.lhs.alias == table
        and _is_constant_value(condition.rhs)
    )


def _is_constant_value(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_constant_value, value))
    return isinstance(value, _CONSTANTS)
