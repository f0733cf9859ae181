"""From a row's values to an instance for one event, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.db import NotSupportedError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.base import ModelState

from django_esdb.recorders.rows.entry import UNSET, Entry
from django_esdb.recorders.rows.schema.model_info import ModelInfo
from django_esdb.recorders.rows.values.columns import Column, frozen_values
from django_esdb.recorders.rows.values.frozen import Trust

_new = object.__new__
# Which database an instance is of, and that it is there.
CLEAN_STATE_SIZE = 2

Changes = list[tuple[int, Any]]


class Writer(Protocol):
    """What resolving relations takes."""

    def is_new_elsewhere(self, instance: models.Model) -> bool:
        """Return whether an instance is a new row whose key is not known yet."""

    def has_added(self, instance: models.Model) -> bool:
        """Return whether an instance is a row's that is in hand."""

    def write(self) -> None:
        """Write everything that is pending."""


class Instances:
    """
    Makes a model's instances of rows' values, and compares them.

    Only the values of columns go from one event to the next: not loaded relations, nor
    whatever else an instance remembers.

    Args:
        info: What is known of the model.
        using: Alias of the database.
        connection: To it.
        prepare_for: Called with a row and an expression that it was assigned, so that
            it is about rows as they were before.

    Attributes:
        clean_names: The attributes of an instance that has nothing but its columns'
            values; None where these do not tell.
        addable: Integers that can be added to without an instance, by attribute: each
            with its index and the numbers that the column takes.
        keeps_forms: Whether values stay in instances in the form in which they were
            assigned, as where these are saved one by one.
        note: Takes a row and what its instance has, and gives the row the settled value
            of each column that differs; returns how far these values are known, None
            if none differs. It puts what differs in order in the instance, too.
    """

    def __init__(
        self,
        info: ModelInfo,
        using: str,
        connection: BaseDatabaseWrapper,
        prepare_for: Callable[[Entry, Any], Any],
    ) -> None:
        self._info = info
        self._prepare_for = prepare_for
        self._using = using
        self._connection = connection
        pk = info.pk.attname
        self._pk_attname = pk
        # All but the key; what the database generates is among them.
        self.columns = [
            Column(field, connection)
            for field in info.model._meta.concrete_fields
            if field.attname != pk
        ]
        self.unset = [UNSET] * len(self.columns)
        self._read_only = {
            index
            for index, column in enumerate(self.columns)
            if getattr(column.field, "generated", False)
        }
        self.keeps_forms = False
        self._presaved = info.presaved
        self._described = info.described
        # One call less for the models that have no such fields.
        self.note: Callable[[Entry, dict[str, Any]], Trust | None] = (
            self._note_before_save if self._presaved else self._note
        )
        self._is_plain = not info.makes_instances_its_own_way()
        self._attnames = [column.attname for column in self.columns]
        # With the key and the state.
        self.clean_names = (
            dict.fromkeys((*self._attnames, pk, "_state")).keys()
            if self._is_plain
            else None
        )
        self.addable: dict[str, tuple[int, range]] = (
            {
                column.attname: (index, column.integers)
                for index, column in enumerate(self.columns)
                if column.integers is not None and info.is_plain(column.attname)
            }
            if self._is_plain and not self._presaved
            else {}
        )
        # What is not kept as it is handed out.
        self._thawed = [
            (column.attname, index, column.thaw)
            for index, column in enumerate(self.columns)
            if column.thaw
        ]
        self._writable = [
            (index, column.attname, column.freeze, column.integers, column.settle)
            for index, column in enumerate(self.columns)
            if index not in self._read_only
        ]

    def renewed(self, entry: Entry) -> models.Model:
        """Return an instance that has a row's values and nothing else."""
        instance: models.Model | None = entry.spare
        if instance is not None:
            # It has nothing else already.
            remembered = instance.__dict__
            for attname, index, thaw in self._thawed:
                remembered[attname] = thaw(entry.current[index])
            return instance
        values = self._values(entry)
        if not self._is_plain:
            return self._made_by_model(values)
        instance = _new(self._info.model)
        state = values["_state"] = ModelState()
        state.adding = False
        state.db = self._using
        instance.__dict__ = values
        return instance

    def _values(self, entry: Entry) -> dict[str, Any]:
        values: dict[str, Any] = dict(zip(self._attnames, entry.current, strict=True))
        for attname, _, thaw in self._thawed:
            values[attname] = thaw(values[attname])
        values[self._pk_attname] = entry.pk
        return values

    def _made_by_model(self, values: dict[str, Any]) -> models.Model:
        fields = self._info.model._meta.concrete_fields
        return self._info.model.from_db(
            self._using,
            [field.attname for field in fields],
            [values[field.attname] for field in fields],
        )

    def is_read_only(self, index: int) -> bool:
        """Return whether the database works out a column by itself."""
        return index in self._read_only

    def changes(
        self, entry: Entry, values: dict[str, Any]
    ) -> tuple[Changes, Trust | None]:
        """
        Compare as :attr:`note`, but leave the row's values as they were.

        Returns:
            The index and the settled value of each column that differs, and how far
            these values are known; None if none differs.
        """
        before = entry.current
        trust = self.note(entry, values)
        if trust is None:
            return [], None
        pairs = zip(before, entry.current, strict=True)
        entry.current = before
        return [(i, now) for i, (was, now) in enumerate(pairs) if now is not was], trust

    def differ(self, entry: Entry) -> bool:
        """Return whether a row's instance was changed, and do nothing about it."""
        prepare_for, self._prepare_for = self._prepare_for, _nothing
        try:
            return self.changes(entry, entry.instance.__dict__)[1] is not None
        finally:
            self._prepare_for = prepare_for

    def _note_before_save(self, entry: Entry, values: dict[str, Any]) -> Trust | None:
        before = entry.current
        if self._note(entry, values) is None and not entry.is_unsaved:
            return None
        # What the fields give need not be what the instance has now.
        entry.current = before
        for field in self._presaved:
            # Such as the time of the last change.
            field.pre_save(entry.instance, entry.is_unsaved)
        return self._note(entry, values)

    def _note(self, entry: Entry, values: dict[str, Any]) -> Trust | None:
        # Another list: expressions are about the row as it was.
        current = entry.current.copy()
        worst: Trust | None = None
        seen = self._seen(entry.instance, values) if self._described else values
        for index, attname, freeze, integers, settle in self._writable:
            before = current[index]
            # A deferred field has no value.
            value = seen.get(attname, before)
            if value is before or (
                self.keeps_forms
                and freeze is None
                and _is_read_again(value, before, settle)
            ):
                continue
            if integers is not None and type(value) is int and value in integers:
                # The most frequent case, made short.
                if value != before or type(before) is not int:
                    current[index] = value
                    worst = worst or Trust.CERTAIN
                continue
            frozen = value if freeze is None else freeze(value)
            if (
                frozen == before
                and type(frozen) is type(before)
                and (freeze is not None or repr(value) == repr(before))
            ):
                continue
            settled, trust = settle(value, frozen)
            if settled is not value and trust is Trust.CERTAIN and freeze is None:
                if not self.keeps_forms:
                    seen[attname] = settled
                # It is a change, though the database makes the same of it as before.
                is_other = settled == before and repr(value) != repr(before)
                worst = worst or Trust.CERTAIN if is_other else worst
            if _differs(settled, before) or (
                # What only the database knows may be as before to Python alone.
                trust is Trust.DOUBTFUL and repr(value) != repr(before)
            ):
                current[index] = settled
                worst = trust if worst is None or trust > worst else worst
                if trust is Trust.DOUBTFUL and hasattr(settled, "resolve_expression"):
                    self._prepare_for(entry, settled)
        entry.current = current
        return worst

    def frozen(self, instance: models.Model) -> list[Any]:
        """Return an instance's values, frozen."""
        values = self._seen(instance, instance.__dict__)
        return frozen_values(self.columns, map(values.get, self._attnames))

    def check_values(self, instance: models.Model) -> None:
        """
        See to it that an instance could be inserted, as far as Django itself tells.

        Raises:
            Exception: What a field says of its value, as when it is saved.
        """
        for field in self._info.fields:
            value = getattr(instance, field.attname)
            field.get_db_prep_save(value, connection=self._connection)

    def are_taken(self, instance: models.Model) -> bool:
        """Return whether it is certain that a column takes each of these values."""
        seen = self._seen(instance, instance.__dict__)
        given = {field.attname for field in self._presaved}
        return all(
            settle(value, value if freeze is None else freeze(value))[1]
            is not Trust.DOUBTFUL
            for _, attname, freeze, _, settle in self._writable
            if (value := seen.get(attname)) is not None or attname not in given
        )

    def put_back(self, entry: Entry) -> None:
        """Make an instance that is in hand have its row's values."""
        instance = entry.instance
        if instance is None:
            return
        values = self._values(entry)
        described = {attname: values.pop(attname) for attname in self._described}
        instance.__dict__.update(values)
        for attname, value in described.items():
            setattr(instance, attname, value)
        self._forget_relations(instance)

    def _forget_relations(self, instance: models.Model) -> None:
        """Forget related rows that an instance's references do not lead to."""
        cached = instance._state.__dict__.get("fields_cache")
        if not cached:
            return
        for field in self._info.relations:
            related = cached.get(field.name)
            target = field.target_field.attname
            if related is not None and (
                getattr(related, target) != getattr(instance, field.attname)
                or related.pk is None
            ):
                del cached[field.name]
        for generic in self._info.generic_relations:
            # It would get its key once more.
            cached.pop(generic.name, None)

    def _seen(self, instance: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Return an instance's values, also those that lie elsewhere in it."""
        if not self._described:
            return values
        described = {attname: getattr(instance, attname) for attname in self._described}
        return {**values, **described}

    def check_key(self, entry: Entry) -> None:
        """
        See to it that a row has the key that it had.

        Raises:
            NotSupportedError: It has another one.
        """
        if entry.pk is None or entry.instance is None:
            return
        values = entry.instance.__dict__
        pk = values.get(self._pk_attname)
        if pk is entry.pk:
            return
        if pk == entry.pk or self._info.pk.to_python(pk) == entry.pk:
            # In another form, which the next event is not to see.
            values[self._pk_attname] = entry.pk
            return
        msg = (
            f"The primary key of {self._info.model.__name__} {entry.pk!r} was changed; "
            "delete the row and add another one"
        )
        raise NotSupportedError(msg)

    def resolve_relations(
        self, instance: models.Model, unit: Writer, *, is_saved: bool = True
    ) -> None:
        """
        Give references the keys of what they were assigned, as ``save()`` does.

        Args:
            instance: Whose references they are.
            unit: Writes new rows whose keys the database chooses.
            is_saved: Whether the row will be written for certain.

        Raises:
            ValueError: A reference was assigned a row that is not saved.
        """
        cached = instance._state.__dict__.get("fields_cache")
        if not cached:
            return
        for field in self._info.relations:
            related = cached.get(field.name)
            if related is None:
                continue
            if not _has_key(instance, field.name, related, unit, is_saved=is_saved):
                continue
            target = getattr(related, field.target_field.attname)
            value = getattr(instance, field.attname)
            if value in field.empty_values:
                setattr(instance, field.attname, target)
            elif value != target:
                # The attribute was assigned later than the relation.
                del cached[field.name]
        for generic in self._info.generic_relations:
            related = cached.get(generic.name)
            if (
                related is not None
                and _has_key(instance, generic.name, related, unit, is_saved=is_saved)
                and getattr(instance, generic.fk_field) is None
                and unit.has_added(related)
            ):
                # The handler has added it before it was assigned here.
                setattr(instance, generic.fk_field, related.pk)


def _nothing(entry: Entry, expression: Any) -> None:
    """Prepare for nothing."""


def _is_read_again(
    value: Any, before: Any, settle: Callable[..., tuple[Any, Trust]]
) -> bool:
    """
    Return whether a value is what the database has made of the form that was saved.

    That is what ``refresh_from_db()`` leaves, which changes nothing.
    """
    return (
        before is not None
        and before is not UNSET
        and _differs(value, before)
        and not _differs(settle(before, before)[0], value)
    )


def _differs(settled: Any, before: Any) -> bool:
    return (
        settled != before
        or type(settled) is not type(before)
        # The second hour of two is another one, but equal.
        or getattr(settled, "fold", 0) != getattr(before, "fold", 0)
    )


def _has_key(
    instance: models.Model,
    name: str,
    related: models.Model,
    unit: Writer,
    *,
    is_saved: bool,
) -> bool:
    """Return whether what is referred to has a key; raises ValueError if it must."""
    if related.pk is None and unit.is_new_elsewhere(related):
        # New parents first: the database chooses their keys.
        unit.write()
    if related.pk is None and is_saved:
        msg = (
            f"{type(instance).__name__}.{name} is a {type(related).__name__} that is "
            "not saved; add it to its rows first"
        )
        raise ValueError(msg)
    return related.pk is not None
