"""
A second set of tables for models: planned, made and dropped.

Django's schema editor makes them of the models themselves, while these are redirected
to them. A second table has what the first has but for its own name, and names of
indexes and constraints that are its own, since on some databases all tables of a schema
share these. Foreign keys among the models lead to the second tables. Those that lead
elsewhere are none for the database: they would keep a site from deleting what only the
second set refers to. When rows are moved, the first tables' foreign keys hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.apps import apps
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.options import Options

from django_esdb.exceptions import ConfigurationError
from django_esdb.rebuilding.resetting import referring_first
from django_esdb.recorders.rows.schema.model_info import tables_looked_at_late
from django_esdb.registered_names import BESIDE

# Where the database has no limit of its own.
_LONGEST_TABLE = 200
_DIGITS = 8


class SecondSet:
    """
    A second table for each table that a view's models have.

    Args:
        read_models: The models that the view declares.
        using: Alias of their database. Nothing is asked.

    Raises:
        ConfigurationError: There can be no second table of a model; the text says why.

    Attributes:
        using: As the argument.
        models: Those that have a table of their own, with what Django makes for
            many-to-many fields; those that refer to others first.
        names: Each one's second table.
    """

    def __init__(self, read_models: Iterable[type[models.Model]], using: str) -> None:
        self.using = using
        concrete = list(dict.fromkeys(map(_concrete, read_models)))
        for model in concrete:
            _check(model, concrete)
        self.models = referring_first([*_many_to_many(concrete), *concrete])
        limit = connections[using].ops.max_name_length() or _LONGEST_TABLE
        self.names: Mapping[type[models.Model], str] = {
            model: second_name(model._meta.db_table, limit) for model in self.models
        }
        # While models are redirected, they do not tell any more.
        self.first_names: Mapping[type[models.Model], str] = {
            model: model._meta.db_table for model in self.models
        }

    @property
    def tables(self) -> list[str]:
        """The second tables, those that refer to others first."""
        return [self.names[model] for model in self.models]

    def definition(self) -> str:
        """Return the statements that make the tables; nothing is executed."""
        connection = connections[self.using]
        # Not entered, since that would change the connection's checks.
        editor = connection.schema_editor(collect_sql=True)
        editor.deferred_sql = []
        with self.redirected(), self._with_own_names():
            for model in reversed(self.models):
                _create(editor, model)
        return "\n".join(map(str, [*editor.collected_sql, *editor.deferred_sql]))

    def create(self) -> None:
        """
        Make the tables, outside of a transaction; none of them must be there.

        Raises:
            django.db.Error: The database refuses. Some may be made.
        """
        with (
            self.redirected(),
            self._with_own_names(),
            connections[self.using].schema_editor() as editor,
        ):
            for model in reversed(self.models):
                _create(editor, model)

    @contextmanager
    def redirected(self) -> Iterator[None]:
        """
        Have the models' tables be the second ones, in all of this process.

        For a process that does nothing else with these models.
        """
        tables = {
            each: self.names[concrete]
            for each in apps.get_models(include_auto_created=True)
            if (concrete := _concrete(each)) in self.names
        }
        # Models that were made by hand are not among those of the apps.
        tables |= self.names
        before = {model: model._meta.db_table for model in tables}
        _redirect(tables)
        try:
            yield
        finally:
            _redirect(before)

    @contextmanager
    def _with_own_names(self) -> Iterator[None]:
        """Have indexes and constraints other names, and no references elsewhere."""
        with ExitStack() as stack:
            for model in self.models:
                meta = model._meta
                for named in (*meta.indexes, *meta.constraints):
                    name = _own_name(meta, named.name)
                    stack.enter_context(_changed(named, "name", name))
                for field in meta.local_concrete_fields:
                    if (
                        isinstance(field, models.ForeignKey)
                        and _concrete(field.related_model) not in self.names
                    ):
                        stack.enter_context(_changed(field, "db_constraint", False))
            yield


def second_name(table: str, limit: int) -> str:
    """
    Return the name of a second table, which is the first one's with more behind.

    Args:
        table: The first table.
        limit: The longest name that the database takes, in bytes.
    """
    name = f"{table}{BESIDE}"
    if len(name.encode()) <= limit:
        return name
    digest = hashlib.sha256(table.encode()).hexdigest()[:_DIGITS]
    room = limit - len(BESIDE) - 1 - _DIGITS
    beginning = table.encode()[:room].decode(errors="ignore")
    return f"{beginning}_{digest}{BESIDE}"


def tables_there(using: str, tables: Iterable[str]) -> list[str]:
    """Return those of these tables that a database has, in the order given."""
    connection = connections[using]
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor, include_views=True))
    # Some databases have names in lower case only.
    lowered = {name.lower() for name in there}
    return [table for table in tables if table.lower() in lowered]


def drop_tables(using: str, tables: Iterable[str]) -> list[str]:
    """
    Drop those of these tables that are there, outside of a transaction.

    Args:
        using: Alias of the database.
        tables: Their names, those that refer to others first.

    Returns:
        Which ones were there.

    Raises:
        django.db.Error: The database cannot be used.
    """
    connection = connections[using]
    there = tables_there(using, tables)
    with connection.constraint_checks_disabled():
        for table in there:
            _drop(connection, table)
    return there


def _drop(connection: BaseDatabaseWrapper, table: str) -> None:
    # Another process may drop it at the same time.
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {connection.ops.quote_name(table)}")


def _create(editor: Any, model: type[models.Model]) -> None:
    meta = model._meta
    # What belongs to many-to-many fields is among the models itself.
    with _changed(meta, "local_many_to_many", []):
        editor.create_model(model)


def _redirect(tables: Mapping[type[models.Model], str]) -> None:
    for model, table in tables.items():
        model._meta.db_table = table
        for field in model._meta.fields:
            # Has the table's name in it.
            vars(field).pop("cached_col", None)
    tables_looked_at_late.cache_clear()


@contextmanager
def _changed(on: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(on, name)
    setattr(on, name, value)
    try:
        yield
    finally:
        setattr(on, name, before)


def _own_name(meta: Options[Any], name: str) -> str:
    digest = hashlib.sha256(f"{meta.db_table} {name}".encode()).hexdigest()
    # No longer than any database takes, and no index's name may begin with a digit.
    return f"esdb_beside_{digest[:16]}"


def _concrete(model: Any) -> type[models.Model]:
    found: type[models.Model] = model._meta.concrete_model or model
    return found


def _many_to_many(of: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    found: list[type[models.Model]] = []
    for model in of:
        for field in model._meta.local_many_to_many:
            through: Any = field.remote_field.through
            if through._meta.auto_created:
                found.append(through)
    return found


def _check(model: type[models.Model], concrete: list[type[models.Model]]) -> None:
    meta = model._meta
    problem = ""
    if not meta.managed:
        problem = "its table is not managed by Django (managed = False)"
    elif meta.swapped:
        problem = f"it is swapped for {meta.swapped}"
    elif '"' in meta.db_table or "`" in meta.db_table or "." in meta.db_table:
        problem = f"its table {meta.db_table} is not a plain name"
    elif meta.db_table.endswith(BESIDE):
        problem = f"its table {meta.db_table} ends with {BESIDE}"
    elif parents := [
        parent._meta.label
        for parent in meta.parents
        if parent is not model and _concrete(parent) not in concrete
    ]:
        problem = (
            f"it inherits from {parents[0]}, which is none of the view's read_models"
        )
    elif cascading := _cascades_in_database(model, concrete):
        problem = (
            f"the database itself would delete or change rows of {cascading} with its "
            "rows"
        )
    if problem:
        msg = f"{meta.label} cannot be rebuilt next to the rows in use: {problem}"
        raise ConfigurationError(msg)


def _cascades_in_database(
    model: type[models.Model], concrete: list[type[models.Model]]
) -> str:
    """Return what else refers to a model in such a way; empty if nothing does."""
    for relation in model._meta.related_objects:
        other: Any = relation.related_model
        on_delete: Any = getattr(relation, "on_delete", None)
        # From Django 6.1 on.
        if type(on_delete).__name__ == "DatabaseOnDelete" and (
            _concrete(other) not in concrete
        ):
            return str(other._meta.label)
    return ""
