"""
Which rows the statements of an event change, seen from below the ORM.

Before the first statement that may write to a table its rows are read, and after the
event again: so whatever writes them is seen, be it ``rows``, a queryset, raw SQL, or
the database itself, by references and triggers. Of tables with many rows those alone
are read that the statements name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.effects import (
    Schema,
    changed_rows,
    ending,
    is_query,
    may_write_in_functions,
    refresh_checks,
    schema_of,
    text_of,
)
from django_esdb.debugging.statements import Rows, Wanted, rows_of
from django_esdb.debugging.tables import Key, Row, Table, models_by_table, unobserved
from django_esdb.exceptions import NotInDryRunError
from django_esdb.recorders.rows.statements import Statement, kind_of
from eventsourcing_eventstoredb.text import one_line

# Of a statement, where it is quoted.
_LONGEST_STATEMENT = 80
_HARMLESS = ("SET ", "LOCK ", "NOTIFY", "DECLARE", "FETCH", "CLOSE", "PRAGMA")


@dataclass(frozen=True)
class Change:
    """
    What became of a row.

    Attributes:
        model: Label of its model, or the table's name if it is no model's.
        pk: Its primary key; several values in a tuple; None without one.
        before: Its values by field; None if there was none.
        after: Likewise, afterwards.
    """

    model: str
    pk: Any
    before: Row | None
    after: Row | None


class _Watched:
    """
    A table that statements write to.

    Attributes:
        known: Its rows as they were at last; of a large table some of them, and None
            for what is not there.
        is_large: Whether there are too many rows to read all.
        looked_at: Keys of the rows that the event at hand may change.
        above: The largest number of a row before new ones were inserted; None if none
            were.
        is_written: Whether the event at hand writes to it.
    """

    def __init__(self, table: Table, limit: int) -> None:
        self.table = table
        self._limit = limit
        rows = table.read(limit)
        self.is_large = rows is None
        self.known: dict[Key, Row | None] = dict(rows or {})
        self.begin()

    def begin(self) -> None:
        """Note that another event begins."""
        self.looked_at: set[Key] = set()
        self.above: Any = None
        self.is_written = False

    def look_at(self, keys: Iterable[Key]) -> None:
        """Read some rows before they are changed, where they are not known."""
        wanted = set(keys)
        unknown = wanted - self.known.keys()
        if unknown:
            found = self.table.read_keys(unknown)
            self.known.update({key: found.get(key) for key in unknown})
        self.looked_at |= wanted

    def read_again(self) -> dict[Key, Row]:
        """Return what there is now of the rows that may have changed."""
        if not self.is_large:
            # As many as there were, and what was inserted.
            return self.table.read(2**31) or {}
        if self.above is not None:
            new = self.table.keys_above(self.above)
            self.known.update({key: None for key in new if key not in self.known})
            self.looked_at.update(new)
        return self.table.read_keys(self.looked_at)


class RowWatch:
    """
    Finds out which rows each event changes.

    Args:
        connection: The transaction's. Its wrapper is for the statements of handlers.
        declared: Names of tables that are looked at where it is not certain what a
            statement writes to.
        limit: From how many rows on a table is not read as a whole.

    Attributes:
        notes: What could not be told of the event at hand, in a line each.
        seconds: How long it was looked at rows while the event's handler ran.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, declared: Iterable[str], limit: int
    ) -> None:
        self._connection = connection
        self._declared = tuple(declared)
        self._limit = limit
        with unobserved(connection):
            self._schema: Schema = schema_of(connection)
        self._models = models_by_table()
        self._watched: dict[str, _Watched] = {}
        self._counts: dict[str, int] | None = None
        self.notes: list[str] = []
        self.seconds = 0.0

    def begin(self) -> None:
        """Note that another event begins."""
        self.notes = []
        self.seconds = 0.0
        for watched in self._watched.values():
            watched.begin()
        self.count()

    def count(self) -> None:
        """Note that what the transaction has changed up to now is not the event's."""
        with unobserved(self._connection):
            self._counts = changed_rows(self._connection)

    def execute_wrapper(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """Take the hook that Django has for every statement."""
        text = text_of(sql, self._connection.connection)
        words = ending(text, self._connection)
        if words:
            msg = f"{words} would end the transaction, so it is not executed here"
            raise NotInDryRunError(msg)
        if kind_of(text) is Statement.WRITE:
            began = perf_counter()
            self._about_to_write(text, params, many=many)
            self.seconds += perf_counter() - began
        return execute(sql, params, many, context)

    def changes(self) -> list[Change]:
        """
        Return what the event has changed, in the order of tables' first changes.

        Raises:
            IntegrityError: The database would refuse it at the commit.
        """
        written = [name for name, each in self._watched.items() if each.is_written]
        with unobserved(self._connection):
            refresh_checks(self._connection, self._schema, written)
        found = [
            change
            for name in written
            for change in self._changes_of(self._watched[name])
        ]
        self._note_what_was_not_seen(set(written))
        return found

    def _about_to_write(self, text: str, params: Any, *, many: bool) -> None:
        named = self._schema.written_by(text)
        if not named:
            if not self._may_write(text):
                return
            named = set(self._declared)
        for name in sorted(self._schema.with_followers(named)):
            watched = self._watched.get(name)
            if watched is None:
                table = Table(self._connection, name, self._models.get(name))
                watched = self._watched[name] = _Watched(table, self._limit)
            watched.is_written = True
            if watched.is_large:
                is_certain = named == {name}
                sets = params if many else [params]
                self._look_at(watched, text, sets if is_certain else None)

    def _may_write(self, text: str) -> bool:
        """Return whether a statement may write to tables that it does not name."""
        start = text.lstrip().upper()
        if start.startswith(_HARMLESS):
            return False
        is_told = self._counts is not None
        is_quiet = is_told or not may_write_in_functions(self._connection)
        if is_query(text) and is_quiet:
            # Of functions that write, PostgreSQL tells; SQLite has none.
            return is_told
        if not is_told:
            self._note(
                f"what {_quoted(text)} writes to is not certain: of other tables than "
                "the view's read_models nothing is said"
            )
        return True

    def _look_at(self, watched: _Watched, text: str, sets: Any) -> None:
        """Read what a statement, once for each set of parameters, may change."""
        table = watched.table
        if isinstance(sets, list | tuple) and table.key_columns:
            found = [
                rows_of(text, params, table.name, table.key_columns) for params in sets
            ]
            if None not in found:
                for rows in found:
                    assert rows is not None
                    self._look_at_rows(watched, text, rows)
                return
        self._note(
            f"{table.label} has more than {self._limit} rows, and which of them "
            f"{_quoted(text)} changes is not certain: some may be missing"
        )

    def _look_at_rows(self, watched: _Watched, text: str, rows: Rows) -> None:
        table = watched.table
        if rows.wanted is Wanted.CONDITION:
            keys = table.keys_where(
                rows.condition, rows.params, self._limit, rows.sources
            )
            if keys is not None:
                watched.look_at(keys)
                return
            self._note(
                f"{_quoted(text)} is about more than {self._limit} rows of "
                f"{table.label}: they are not shown"
            )
        elif rows.wanted is Wanted.KEYS:
            watched.look_at(table.key_given(key) for key in rows.keys)
        elif table.has_numbered_rows:
            if watched.above is None:
                watched.above = table.largest_key() or 0
        else:
            self._note(
                f"{table.label} has more than {self._limit} rows, and the keys of "
                f"those that {_quoted(text)} inserts are not known: they are missing"
            )

    def _changes_of(self, watched: _Watched) -> Iterator[Change]:
        now = watched.read_again()
        table = watched.table
        keys = (
            watched.looked_at
            if watched.is_large
            else dict.fromkeys([*watched.known, *now])
        )
        for key in keys:
            before, after = watched.known.get(key), now.get(key)
            if not are_alike(before, after):
                yield Change(table.label, _pk(table, key), before, after)
        if watched.is_large:
            watched.known.update({key: now.get(key) for key in watched.looked_at})
        else:
            watched.known = dict(now)

    def _note_what_was_not_seen(self, written: set[str]) -> None:
        if self._counts is None:
            return
        with unobserved(self._connection):
            counts = changed_rows(self._connection) or {}
        for table, count in counts.items():
            more = count - self._counts.get(table, 0)
            if more > 0 and table not in written:
                model = self._models.get(table)
                label = table if model is None else model._meta.label
                self._note(
                    f"rows of {label} were changed ({more}), by something that names "
                    "no table: they cannot be shown"
                )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def are_alike(before: Any, after: Any) -> bool:
    """Return whether two values are the same in a database; 1 and True are not."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(
            are_alike(value, after[key]) for key, value in before.items()
        )
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(are_alike, before, after))
    if isinstance(before, memoryview):
        return bytes(before) == bytes(after)
    # A number that is none is unlike itself.
    return bool(before == after or (before != before and after != after))


def _pk(table: Table, key: Key) -> Any:
    if not table.key_columns:
        return None
    return key[0] if len(key) == 1 else key


def _quoted(text: str) -> str:
    return f"«{one_line(text, _LONGEST_STATEMENT)}»"
