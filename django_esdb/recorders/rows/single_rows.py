"""Saving and deleting single rows by their models, whose own code may do more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import models

from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.instances.added_state import AddedState
from django_esdb.recorders.rows.protocols import KnownRows


def save_by_itself(rows: KnownRows, entry: Entry, *, is_new: bool) -> None:
    """
    Save a row that is in hand, after what is pending.

    Raises:
        Exception: What the model's code, or a receiver of signals, says.
    """
    instance = entry.instance
    assert instance is not None
    if isinstance(instance._state, AddedState):
        instance._state.forget()
    with _being_saved(entry):
        rows.unit.write()
        with rows.unit.saving_one():
            if is_new:
                instance.save(force_insert=True, using=rows.unit.using)
            else:
                # Without arguments, as a model's own method may have none.
                instance.save()
    entry.is_unsaved = False
    if entry.pk is None:
        rows.keyed(entry, instance.pk)
    _note_saved(rows, entry)


def note_saved(
    rows: KnownRows, instance: models.Model, names: Collection[str] | None
) -> None:
    """
    Note that a handler has written a row that it has in hand.

    Args:
        rows: The rows that it is one of.
        instance: The row.
        names: Of the fields that were saved; None for all.
    """
    entry = rows.entries.get(instance.pk)
    if entry is None or entry.instance is not instance or entry.is_being_saved:
        return
    _note_saved(rows, entry, names)


def delete_by_itself(rows: KnownRows, entry: Entry, *, is_trusted: bool) -> None:
    """
    Delete a row that is in hand, and what its deletion takes along.

    Args:
        rows: The rows that it is one of.
        entry: The row; all that is pending is written.
        is_trusted: Whether Django knows all rows that refer to it.

    Raises:
        Exception: What the model's code, or a receiver of signals, says.
    """
    instance = entry.instance
    with _being_saved(entry):
        if is_trusted:
            with rows.unit.trusting_references():
                instance.delete()
        else:
            # Without arguments, as a model's own method may have none.
            instance.delete()
    if instance.pk is None:
        # It is deleted by its key, of which who holds the instance is not told.
        instance.pk = entry.pk
        rows.unit.note_deleted(rows, entry)
        rows.forget(entry)
    else:
        # The model keeps it, such as marked.
        _note_saved(rows, entry)


@contextmanager
def _being_saved(entry: Entry) -> Iterator[None]:
    entry.is_being_saved = True
    try:
        yield
    finally:
        # If it is refused, the handler may continue with it.
        entry.is_being_saved = False


def _note_saved(
    rows: KnownRows, entry: Entry, names: Collection[str] | None = None
) -> None:
    """Note that other code has written a row in hand, or these fields of it."""
    saved = rows.instances.frozen(entry.instance)
    if names is not None:
        saved = [
            now if column.field.name in names or column.attname in names else before
            for column, now, before in zip(
                rows.columns, saved, entry.current, strict=True
            )
        ]
    entry.current = saved
    entry.stored = list(saved)
    entry.read_at = -1
    rows.changed_now.note_written(entry, rows.unit.stretch)
