"""What the unit of work has to know of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from inspect import getattr_static
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import (
    post_delete,
    post_init,
    post_save,
    pre_delete,
    pre_init,
    pre_save,
)
from django.db.utils import NotSupportedError

from django_esdb.db.fields import Field, has_changeable_values, is_djangos, target_of
from django_esdb.recorders.rows.schema.deletions import relations_to, taken_along

# What Django calls to save a row, and may be another class's.
_SAVING = ("save", "save_base", "_save_table", "_do_insert", "_do_update")


@dataclass(frozen=True)
class Reference:
    """
    A foreign key that the database holds rows to.

    Attributes:
        field: The foreign key.
        attname: Its attribute.
        target: What it points to.
        target_attname: By which attribute.
    """

    field: models.ForeignKey[Any, Any]
    attname: str
    target: type[models.Model]
    target_attname: str


class ModelInfo:
    """
    What the unit of work has to know of a model; one for each, kept.

    Raises:
        NotSupportedError: Rows of the model lie in several tables, its primary key
            is of several fields.

    Attributes:
        fields: Those that are written, without the primary key.
        pk: The primary key.
        has_generated: Whether the database works out some columns.
        dependents: Relations whose rows a deletion may take along.
        loose_dependents: Relations to it of which only the database knows.
        taken_along: It and the models of rows that are deleted with one; None if one
            may be left that refers to what is not there.
        unique_groups: Attributes whose values no two rows have alike.
        doubtful: Attributes that the database may refuse by a rule which is not
            known here; None for all.
        references: Its foreign keys.
        referred: Attributes without the key that others' foreign keys point to.
        has_deferred: Whether the database looks at a constraint at the commit.
        presaved: Fields that Django gives their values when they are saved.
        described: Attributes that are more than a value in an instance.
        generic_relations: Its references to rows of any model.
    """

    def __init__(self, model: type[models.Model]) -> None:
        _check_supported(model)
        meta = model._meta
        self.model = model
        self.pk: Field = meta.pk
        self.fields: list[Field] = [
            field
            for field in meta.concrete_fields
            if not field.primary_key and not getattr(field, "generated", False)
        ]
        self.has_generated = len(self.fields) + 1 < len(meta.concrete_fields)
        self._attnames = {
            name: field.attname
            for field in meta.concrete_fields
            for name in (field.attname, field.name)
        }
        self.has_deferred = _has_deferred(model)
        self._read_relations()
        self._read_constraints()
        self.relations: list[models.ForeignKey[Any, Any]] = [
            field
            for field in meta.concrete_fields
            if isinstance(field, models.ForeignKey)
        ]
        self.references = [
            Reference(
                field,
                field.attname,
                field.related_model,
                field.target_field.attname,
            )
            for field in self.relations
            if getattr(field, "db_constraint", True) and field.related_model is not None
        ]
        self.generic_relations: list[Any] = [
            field
            for field in meta.private_fields
            if hasattr(field, "fk_field") and hasattr(field, "ct_field")
        ]
        self.presaved = [field for field in self.fields if _has_presave(field)]
        self.described = [
            field.attname
            for field in meta.concrete_fields
            if _has_own_descriptor(model, field)
        ]

    def makes_instances_its_own_way(self) -> bool:
        """Return whether more than the fields' values makes an instance."""
        model: Any = self.model
        return (
            bool(self.described)
            or model.__init__ is not models.Model.__init__
            or model.from_db.__func__ is not models.Model.from_db.__func__  # type: ignore[attr-defined]
            or model.__new__ is not object.__new__
            or pre_init.has_listeners(model)
            or post_init.has_listeners(model)
        )

    def is_plain(self, attname: str) -> bool:
        """Return whether to assign a field's value does no more than to keep it."""
        model = self.model
        return (
            model.__setattr__ is object.__setattr__
            and model.__getattribute__ is object.__getattribute__
            and type(getattr_static(model, attname)) is DeferredAttribute
        )

    def is_saved_by_itself(self) -> bool:
        """Return whether saving a row does more than to write it."""
        model = self.model
        return (
            any(
                getattr(model, name) is not getattr(models.Model, name)
                for name in _SAVING
            )
            or any(
                not is_djangos(type(field).pre_save)
                for field in model._meta.concrete_fields
            )
            or pre_save.has_listeners(model)
            or post_save.has_listeners(model)
            # It may not find all rows, or write them in a way of its own.
            or type(model._base_manager) is not models.Manager
            # A row's place among the others is looked up when it is inserted.
            or model._meta.order_with_respect_to is not None
        )

    def is_deleted_by_itself(self) -> bool:
        """Return whether deleting a row does more than to delete it alone."""
        return (
            self.has_dependents or bool(self.loose_dependents) or self.has_own_delete()
        )

    def has_own_delete(self) -> bool:
        """Return whether code of others runs when a row is deleted."""
        model = self.model
        return (
            model.delete is not models.Model.delete
            or pre_delete.has_listeners(model)
            or post_delete.has_listeners(model)
        )

    def runs_code_of_others(self) -> bool:
        """Return whether such code runs for the row, or for what goes along with it."""
        return self.has_own_delete() or any(
            pre_delete.has_listeners(each) or post_delete.has_listeners(each)
            for each in self.taken_along or ()
        )

    def has_own_queryset(self) -> bool:
        """Return whether the model's manager may not find all rows."""
        manager = self.model._default_manager
        return not is_djangos(type(manager).get_queryset)

    def check_manager(self) -> None:
        """
        See to it that the model's manager gives rows no more than their columns.

        Raises:
            NotSupportedError: It does.
        """
        annotated = self.model._default_manager.all().query.annotation_select
        if annotated:
            msg = (
                f"rows({self.model.__name__}) is not possible: the default manager "
                f"annotates {', '.join(annotated)}, which rows would not have; use "
                "alias() there, or the model's manager"
            )
            raise NotSupportedError(msg)

    def has_filtering_manager(self) -> bool:
        """Return whether the model's manager does not find all rows."""
        query = self.model._default_manager.all().query
        return bool(query.where) or query.is_sliced or query.distinct

    def _read_relations(self) -> None:
        relations = relations_to(self.model)
        # Deleting such a row may delete or change others.
        self.has_dependents = any(
            relation.on_delete is not models.DO_NOTHING for relation in relations
        ) or any(
            hasattr(field, "bulk_related_objects")
            for field in self.model._meta.private_fields
        )
        self.taken_along = taken_along(self.model)
        # What other rows refer to by other attributes than the key.
        self.referred = {
            relation.field.target_field.attname
            for relation in relations
            if isinstance(relation.field, models.ForeignKey)
            and getattr(relation.field, "db_constraint", True)
        } - {self.pk.attname}
        self.loose_dependents = [
            relation.field
            for relation in relations
            if relation.on_delete is models.DO_NOTHING
            and getattr(relation.field, "db_constraint", False)
        ]

    def _read_constraints(self) -> None:
        meta = self.model._meta
        attname_of: dict[str, str] = {f.name: f.attname for f in meta.concrete_fields}
        groups: list[tuple[str, ...]] = [
            (field.attname,) for field in self.fields if field.unique
        ]
        groups += [
            tuple(attname_of[name] for name in names) for names in meta.unique_together
        ]
        doubtful: set[str] | None = set()
        for constraint in meta.constraints:
            if _is_plain_unique(constraint):
                fields = constraint.fields  # type: ignore[attr-defined]
                groups.append(tuple(attname_of[name] for name in fields))
                continue
            names = _names_in(constraint)
            if names is None or doubtful is None:
                doubtful = None
            else:
                doubtful |= {attname_of.get(name, name) for name in names}
        generated = {
            field.attname
            for field in meta.concrete_fields
            if getattr(field, "generated", False)
        }
        ruled = {name for group in groups for name in group} | (doubtful or set())
        if not generated.isdisjoint(ruled) or any(
            field.unique for field in meta.concrete_fields if field.attname in generated
        ):
            # Any other attribute may be what these are made of.
            doubtful = None
        self.unique_groups: list[tuple[str, ...]] = [
            group for group in dict.fromkeys(groups) if generated.isdisjoint(group)
        ]
        self.doubtful = doubtful

    def attname(self, name: str) -> str:
        """
        Return the attribute that has a field's value.

        Raises:
            FieldDoesNotExist: There is no such field.
        """
        attname = self._attnames.get(name)
        if attname is None:
            # Raises where there is no such field.
            self.model._meta.get_field(name)
            msg = f"{self.model.__name__} has no column {name!r}"
            raise FieldDoesNotExist(msg)
        return attname


@cache
def model_info(model: type[models.Model]) -> ModelInfo:
    """Return what must be known of a model; there are as many as there are models."""
    return ModelInfo(model)


@cache
def tables_looked_at_late() -> frozenset[str]:
    """
    Return the tables about which the database finds some faults at a commit only.

    Those are foreign keys, on both sides, and deferred constraints. Case-folded.
    """
    found: set[str] = set()
    for model in apps.get_models(include_auto_created=True):
        targets = [
            field.related_model
            for field in model._meta.concrete_fields
            if isinstance(field, models.ForeignKey)
            and getattr(field, "db_constraint", True)
        ]
        if targets or _has_deferred(model):
            found |= {each._meta.db_table.casefold() for each in (model, *targets)}
    return frozenset(found)


def _has_deferred(model: type[models.Model]) -> bool:
    return any(
        getattr(constraint, "deferrable", None) is models.Deferrable.DEFERRED
        for constraint in model._meta.constraints
    )


def _check_supported(model: type[models.Model]) -> None:
    name, meta = model.__name__, model._meta
    concrete = meta.concrete_model
    problem = ""
    if concrete is None or meta.abstract:
        problem = "the model is abstract; use those that inherit from it"
    elif any(parent is not concrete for parent in concrete._meta.parents):
        problem = (
            "the model inherits from another one with a table of its own; use its "
            "manager"
        )
    elif model is not concrete:
        problem = f"the model is a proxy; use rows({concrete.__name__})"
    elif len(getattr(meta, "pk_fields", (meta.pk,))) > 1:
        problem = "the primary key has several fields; use the model's manager"
    elif has_changeable_values(meta.pk):
        kind = type(target_of(meta.pk)).__name__
        problem = (
            f"the primary key is a {kind}, by whose values no row is found in memory; "
            "use the model's manager"
        )
    elif not meta.managed and meta.db_table == "":
        problem = "the model has no table"
    elif not meta.managed and (other := _other_of_table(model)):
        # Neither would know what is changed through the other one.
        problem = (
            f"the model has the table of {other.__name__}; use rows({other.__name__})"
        )
    if problem:
        msg = f"rows({name}) is not possible: {problem}"
        raise NotSupportedError(msg)


def _other_of_table(model: type[models.Model]) -> type[models.Model] | None:
    """Return the model that an unmanaged one's table belongs to, if it is another."""
    others = [
        other
        for other in model._meta.apps.get_models(include_auto_created=True)
        if other._meta.db_table == model._meta.db_table
        and other._meta.concrete_model is other
        and other is not model
    ]
    owner = min(
        (model, *others), key=lambda each: (not each._meta.managed, each._meta.label)
    )
    return None if owner is model else owner


def _is_plain_unique(constraint: models.BaseConstraint) -> bool:
    return (
        isinstance(constraint, models.UniqueConstraint)
        and bool(constraint.fields)
        and constraint.condition is None
        and not constraint.expressions
        and not getattr(constraint, "opclasses", ())
        and getattr(constraint, "nulls_distinct", None) is None
        and constraint.deferrable is None
    )


def _names_in(constraint: Any) -> Iterable[str] | None:
    """Return the fields that a constraint is about, None if that cannot be told."""
    if getattr(constraint, "expressions", None):
        return None
    names: set[str] = set(getattr(constraint, "fields", ()) or ())
    # Before Django 5.1 it has another name.
    condition = getattr(constraint, "condition", None) or getattr(
        constraint, "check", None
    )
    if isinstance(condition, models.Q):
        return names | {name.partition("__")[0] for name in _base_fields(condition)}
    if condition is not None:
        return None
    return names or None


def _base_fields(condition: models.Q) -> set[str]:
    found: set[str] = set(condition.referenced_base_fields)
    return found


def _has_presave(field: Field) -> bool:
    if isinstance(field, models.DateField | models.TimeField):
        return field.auto_now or field.auto_now_add
    pre_save = type(field).pre_save
    return pre_save is not models.Field.pre_save and is_djangos(pre_save)


def _has_own_descriptor(model: type[models.Model], field: Field) -> bool:
    descriptor = type(getattr_static(model, field.attname, None))
    return hasattr(descriptor, "__set__") and not is_djangos(descriptor)
