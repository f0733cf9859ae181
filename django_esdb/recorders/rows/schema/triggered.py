"""Which tables the database does more to than what a statement says."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_esdb.db.effects import bare_name, tables_acting, tables_with_triggers


class Triggered:
    """
    The tables of a database that have triggers, or references or columns that act.

    Args:
        connection: To the database, which is asked.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.session = connection.connection
        self._deleted_further, self._updated_further = tables_acting(connection)
        self._tables: frozenset[str] = frozenset()
        self.look(connection)

    def look(self, connection: BaseDatabaseWrapper) -> bool:
        """Ask which tables have triggers by now; return whether that has changed."""
        before = self._tables
        self._tables = tables_with_triggers(connection) | self._updated_further
        return self._tables != before

    def __contains__(self, model: type[Model]) -> bool:
        return bool(self._tables) and _table_of(model) in self._tables

    def are_deleted_further(self, model: type[Model]) -> bool:
        """Return whether deleting a model's rows deletes or changes others."""
        return _table_of(model) in self._deleted_further


def _table_of(model: type[Model]) -> str:
    return bare_name(model._meta.db_table).lower()


# What was found last on each connection: events that come one at a time need not ask.
_known: WeakKeyDictionary[BaseDatabaseWrapper, Triggered] = WeakKeyDictionary()


def triggered(connection: BaseDatabaseWrapper) -> Triggered:
    """Return what is known of a database; it is asked where nothing is."""
    found = _known.get(connection)
    if found is None or found.session is not connection.connection:
        found = _known[connection] = Triggered(connection)
    return found
