"""Which tables the database does more to than what a statement says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from weakref import WeakKeyDictionary

from django.db import NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_esdb.db.effects import bare_name, references_of, tables_with_triggers
from django_esdb.db.held_connections import driver_connection
from django_esdb.recorders.rows.schema.deletions import relations_to
from django_esdb.recorders.rows.schema.unknown_rules import UnknownRules, unknown_rules


class Triggered:
    """
    The tables of a database that have triggers, or references or columns that act.

    Args:
        connection: To the database, which is asked.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.session = driver_connection(connection)
        self._references = references_of(connection)
        self._tables: frozenset[str] = frozenset()
        self._views: frozenset[str] | None = None
        self._rules: dict[tuple[type[Model], str], UnknownRules] = {}
        self.look(connection)

    def look(self, connection: BaseDatabaseWrapper) -> bool:
        """Ask which tables have triggers by now; return whether that has changed."""
        before = self._tables
        self._tables = (
            tables_with_triggers(connection) | self._references.updated_further
        )
        return self._tables != before

    def __contains__(self, model: type[Model]) -> bool:
        return bool(self._tables) and _table_of(model) in self._tables

    def acts_on_any(self, names: set[str]) -> bool:
        """Return whether writing to one of these tables may change others."""
        return not names.isdisjoint(self._tables | self._references.deleted_further)

    def are_deleted_further(self, model: type[Model]) -> bool:
        """Return whether deleting a model's rows deletes or changes others."""
        return _table_of(model) in self._references.deleted_further

    def are_referred_further(self, model: type[Model]) -> bool:
        """Return whether tables refer to a model's of which no model tells."""
        referring = self._references.referring.get(_table_of(model))
        if not referring:
            return False
        known = {
            _table_of(relation.related_model)
            for relation in relations_to(model)
            if getattr(relation.field, "db_constraint", True)
        }
        return not referring <= known

    def rules_of(
        self, connection: BaseDatabaseWrapper, model: type[Model]
    ) -> UnknownRules:
        """Return the rules that a model does not tell; asks the database once."""
        key = (model, model._meta.db_table)
        found = self._rules.get(key)
        if found is None:
            found = self._rules[key] = unknown_rules(connection, model)
        return found

    def has_view(self, connection: BaseDatabaseWrapper, model: type[Model]) -> bool:
        """Return whether a model's table is a view; asks the database once."""
        if self._views is None:
            with connection.cursor() as cursor:
                found = connection.introspection.get_table_list(cursor)
            self._views = frozenset(t.name.lower() for t in found if t.type == "v")
        return _table_of(model) in self._views


def _table_of(model: type[Model]) -> str:
    return bare_name(model._meta.db_table).lower()


# What was found last on each connection: events that come one at a time need not ask.
_known: WeakKeyDictionary[BaseDatabaseWrapper, Triggered] = WeakKeyDictionary()


def triggered(connection: BaseDatabaseWrapper) -> Triggered:
    """Return what is known of a database; it is asked where nothing is."""
    found = _known.get(connection)
    if found is None or found.session is not driver_connection(connection):
        found = _known[connection] = Triggered(connection)
    return found


class Triggers:
    """
    What a unit of work asks about triggers; the database is not asked before.

    Args:
        connection: To the database.
        own_statements: Makes a context for statements of this.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        own_statements: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._own_statements = own_statements
        self._known: Triggered | None = None
        self._has_looked = False

    def look(self) -> bool:
        """Look which there are, the first time; return whether they are others now."""
        if self._has_looked:
            return False
        self._has_looked = True
        known = self._found()
        with self._own_statements():
            return known.look(self._connection)

    def act_on(self, model: type[Model]) -> bool:
        """Return whether the database does more when a model's rows are written."""
        return model in self._found()

    def act_on_any(self, names: set[str]) -> bool:
        """Return whether the database does more when one of these tables is written."""
        return self._found().acts_on_any(names)

    def are_deleted_further(self, model: type[Model]) -> bool:
        """Return whether the database deletes or changes others with a model's rows."""
        return self._found().are_deleted_further(model)

    def are_referred_further(self, model: type[Model]) -> bool:
        """Return whether tables refer to a model's of which no model tells."""
        return self._found().are_referred_further(model)

    def rules_of(self, model: type[Model]) -> UnknownRules:
        """Return what the database holds a model's rows to without the model's word."""
        known = self._found()
        with self._own_statements():
            return known.rules_of(self._connection, model)

    def check_is_table(self, model: type[Model]) -> None:
        """
        See to it that a model's rows change by themselves alone.

        Raises:
            NotSupportedError: They are a view's.
        """
        # Django makes no views.
        if model._meta.managed:
            return
        known = self._found()
        with self._own_statements():
            is_view = known.has_view(self._connection, model)
        if is_view:
            msg = (
                f"rows({model.__name__}) is not possible: {model._meta.db_table} is a "
                "view, whose rows change with others; use the model's manager"
            )
            raise NotSupportedError(msg)

    def _found(self) -> Triggered:
        if self._known is None:
            with self._own_statements():
                self._known = triggered(self._connection)
        return self._known
