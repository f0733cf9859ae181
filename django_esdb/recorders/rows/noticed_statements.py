"""What a handler's own statements mean for the rows of its unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_esdb.db.effects import names_in, text_of
from django_esdb.db.vendors import writes_in_functions
from django_esdb.models import ProjectionTracking
from django_esdb.recorders.rows.held_transaction import HeldTransaction
from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.instances.own_saves import saved_now
from django_esdb.recorders.rows.overtaking import Overtaking
from django_esdb.recorders.rows.protocols import Work
from django_esdb.recorders.rows.schema.model_info import tables_looked_at_late
from django_esdb.recorders.rows.single_rows import note_saved
from django_esdb.recorders.rows.statements import Statement, kind_of

# Statements that name the tables to which they write.
_NAMING = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH")


class WorkBetweenStatements(Work, Protocol):
    """What noticing statements needs of the unit of work."""

    used: tuple[IdentityMap, ...]
    overtaking: Overtaking

    def find_used(self, instance: Model) -> IdentityMap | None:
        """Return what is known of the rows of an instance's model, if it is used."""

    def end_stretch(self) -> None:
        """Note that a statement of the handler's is next."""

    def others_have_written(self) -> None:
        """Trust nothing that was loaded."""

    def rolled_back(self) -> None:
        """Note that the database went back to a savepoint."""


class NoticedStatements:
    """
    Has pending changes written before each statement, and rows read again after some.

    Args:
        unit: The unit of work that this is a part of.
        held: Its transaction.

    Attributes:
        is_releasing: Whether what is pending is being written before a savepoint is
            released.
        writes_positions: Whether one may have changed a projection's row.
    """

    def __init__(self, unit: WorkBetweenStatements, held: HeldTransaction) -> None:
        self.is_releasing = self.writes_positions = False
        self._unit = unit
        self._connection = unit.connection
        self._transaction = held

    def execute_wrapper(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """Take the hook that Django has for every statement."""
        unit, held = self._unit, self._transaction
        held.check_open()
        if unit.own_statements:
            return self._executed(execute, sql, params, many, context)
        text = text_of(sql, self._connection.connection)
        held.check_before(text)
        kind = kind_of(text)
        if kind is Statement.ROLLBACK:
            result = execute(sql, params, many, context)
            held.rolled_back()
            unit.rolled_back()
            return result
        if unit.used:
            if kind is Statement.RELEASE:
                self._flush_before_release(text)
            else:
                unit.flush()
        if not unit.saving_one:
            unit.end_stretch()
        result = self._executed(execute, sql, params, many, context)
        if kind is Statement.WRITE:
            if unit.saving_one:
                unit.overtaking.note(text)
            unit.others_have_written()
            if ProjectionTracking._meta.db_table in text:
                self.writes_positions = True
            self._note_own_saves()
            is_trusted = bool(unit.trusting_references)
            if not is_trusted and _is_looked_at_late(text, self._connection):
                unit.look_at_rules()
        return result

    def _executed(self, execute: Callable[..., Any], *args: Any) -> Any:
        try:
            return execute(*args)
        except DatabaseError as error:
            self._transaction.failed(error)
            raise

    def _flush_before_release(self, text: str) -> None:
        """
        Write what is pending before a savepoint is released, or go back to it.

        A model's own code, such as ``save()``, may have told Django by then that only
        the transaction's end helps.
        """
        self.is_releasing = True
        try:
            self._unit.flush()
        except Exception as error:
            transaction.set_rollback(False, using=self._connection.alias)
            if not isinstance(error, DatabaseError):
                # After the database's own errors Django itself goes back to it.
                with self._connection.cursor() as cursor:
                    cursor.execute(text.replace("RELEASE", "ROLLBACK TO", 1))
            raise
        finally:
            self.is_releasing = False

    def _note_own_saves(self) -> None:
        if any(rows.in_hand or rows.kept for rows in self._unit.used):
            for instance, names in saved_now():
                rows = self._unit.find_used(instance)
                if rows is not None:
                    note_saved(rows, instance, names)
                    rows.kept.saved(instance)


def _is_looked_at_late(text: str, connection: BaseDatabaseWrapper) -> bool:
    if not text.lstrip()[:7].upper().startswith(_NAMING):
        # What functions and procedures write to is not known.
        return writes_in_functions(connection)
    return not names_in(text).isdisjoint(tables_looked_at_late())
