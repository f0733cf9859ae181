"""Rules of the database that models do not tell, such as those of SQL by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    CheckConstraint,
    ForeignKey,
    JSONField,
    Model,
    UniqueConstraint,
)

from django_esdb.db.table_rules import RuleKind, TableRule, rules_of_table


@dataclass(frozen=True)
class UnknownRules:
    """
    What a model's rows are held to without its word.

    Attributes:
        attnames: The attributes that such rules are about; None for all.
        is_late: Whether the database may look at one when the transaction ends.
    """

    attnames: frozenset[str] | None = frozenset()
    is_late: bool = False


def unknown_rules(connection: BaseDatabaseWrapper, model: type[Model]) -> UnknownRules:
    """Ask the database for rules about a model's table that the model does not tell."""
    known = _Known(model, connection)
    rules = rules_of_table(connection, model._meta.db_table)
    unknown = [rule for rule in rules if not known.tells(rule)]
    attnames: set[str] | None = set()
    # An unmanaged one's columns need not take what fields give.
    if not model._meta.managed or any(rule.columns is None for rule in unknown):
        attnames = None
    else:
        columns = chain.from_iterable(rule.columns or () for rule in unknown)
        attnames = {known.attnames.get(column, column) for column in columns}
    return UnknownRules(
        None if attnames is None else frozenset(attnames),
        any(rule.is_late for rule in unknown),
    )


class _Known:
    """What a model tells."""

    def __init__(self, model: type[Model], connection: BaseDatabaseWrapper) -> None:
        meta = model._meta
        fields = list(meta.concrete_fields)
        column_of = {field.name: str(field.column) for field in fields}
        self.attnames = {str(field.column): field.attname for field in fields}
        # Constraints have names, and are looked at as the model tells.
        self._names = {constraint.name for constraint in meta.constraints}
        groups = [
            *([field.name] for field in fields if field.unique),
            *meta.unique_together,
            *(
                constraint.fields
                for constraint in meta.constraints
                if isinstance(constraint, UniqueConstraint)
            ),
        ]
        self._uniques = {frozenset(column_of[n] for n in group) for group in groups}
        self._references = {
            frozenset((str(field.column),))
            for field in fields
            if isinstance(field, ForeignKey) and getattr(field, "db_constraint", True)
        }
        # What is checked of a field alone: MariaDB's JSON has such a rule of its own.
        self._checked = {
            str(field.column)
            for field in fields
            if isinstance(field, JSONField)
            or field.db_parameters(connection).get("check")
        }
        self._checks = sum(
            bool(field.db_parameters(connection).get("check")) for field in fields
        ) + sum(isinstance(each, CheckConstraint) for each in meta.constraints)

    def tells(self, rule: TableRule) -> bool:
        """Return whether the model tells of a rule."""
        if rule.name in self._names:
            return True
        if rule.kind is RuleKind.UNIQUE:
            return rule.columns in self._uniques
        if rule.kind is RuleKind.REFERENCE:
            return rule.columns in self._references
        if rule.name.isdigit():
            # SQLite's have no names: as many as the model tells are its own.
            return int(rule.name) < self._checks
        columns = {rule.name} if rule.columns is None else rule.columns
        return len(columns) == 1 and columns <= self._checked
