"""All models' rows of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models

from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.writing import write

_READS = ("SELECT", "EXPLAIN", "SHOW", "PRAGMA", "SAVEPOINT", "RELEASE")


def _no_keys(model: type[models.Model]) -> Iterable[Any]:
    return ()


class UnitOfWork:
    """
    Rows that are loaded once, changed in memory and written together.

    Other statements on the same connection are safe beside it: before each of
    them what is pending is written, and after one that writes, rows are read
    again when they are asked for. Get a row anew for each event; an instance
    kept from an earlier one is looked at only at the end.

    Args:
        using: Database alias; a transaction must be open on it.
        keys_of: Says which keys of a model will likely be asked for, so that
            the first one loads them all.
    """

    def __init__(
        self,
        using: str,
        keys_of: Callable[[type[models.Model]], Iterable[Any]] = _no_keys,
    ) -> None:
        self.using = using
        self.keys_of = keys_of
        self.connection = connections[using]
        self._tables: dict[type[models.Model], IdentityMap] = {}
        self._is_own = False
        self._is_writing = False

    def table(self, model: type[models.Model]) -> IdentityMap:
        table = self._tables.get(model)
        if table is None:
            table = self._tables[model] = IdentityMap(self, model)
        return table

    def finish(self) -> None:
        """
        Write everything; the unit is not to be used after that.

        Raises:
            DatabaseError: What the database says.
            ReplayNeeded: The events have to be processed one by one.
        """
        self.event_ended()
        self._write(everything=True, read_again=False)

    def close(self) -> None:
        """
        Forget everything, whether or not it is written.

        Where a connection is lost, Django opens another one on its way out of
        the transaction; nothing may be written on that.
        """
        self._tables.clear()

    def flush(self) -> None:
        """Write everything that is pending; raises what the database says."""
        self._write(everything=True)

    def flush_touched(self) -> None:
        """Write what can have changed since this was last done."""
        self._write(everything=False)

    def _write(self, *, everything: bool, read_again: bool = True) -> None:
        if not self._tables or self._is_writing:
            return
        self._is_writing = True
        try:
            with self.own_statements():
                tables = list(self._tables.values())
                computed = write(self.connection, tables, everything=everything)
                if read_again:
                    for table, entries in computed:
                        table.read_again(entries)
        finally:
            self._is_writing = False

    def event_ended(self) -> None:
        """Note that the next rows are for another event."""
        for table in self._tables.values():
            table.event_ended()

    def mark_stale(self) -> None:
        """Have rows read again when they are next asked for."""
        for table in self._tables.values():
            table.mark_stale()

    @contextmanager
    def own_statements(self) -> Iterator[None]:
        """Tell statements of this unit from others'."""
        before, self._is_own = self._is_own, True
        try:
            yield
        finally:
            self._is_own = before

    def execute_wrapper(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """Take the hook that Django has for every statement."""
        if self._is_own or not self._tables:
            return execute(sql, params, many, context)
        if sql.startswith("ROLLBACK"):
            result = execute(sql, params, many, context)
            with self.own_statements():
                for table in self._tables.values():
                    table.rolled_back()
            return result
        self.flush_touched()
        result = execute(sql, params, many, context)
        if not sql.lstrip()[:10].upper().startswith(_READS):
            self.mark_stale()
        return result
