"""Which rows a handler, or their own code, is saving right now: the stack tells it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Any

from django.db import models

# A model or a mixin may have its own, which calls Django's last.
_SAVE, _SAVE_BASE = "save", "save_base"
_WRITING = ("_do_insert", "_do_update")


def being_saved() -> list[models.Model]:
    """
    Return the instances that this thread is saving, innermost first.

    No signal tells: a model's own ``save()`` and other receivers may make statements
    before one is sent. The same instance may be there several times.
    """
    return [instance for instance, _ in _calls(_SAVE, _SAVE_BASE)]


def saved_now() -> Iterator[tuple[models.Model, Collection[str] | None]]:
    """
    Yield what this thread is writing, innermost first.

    Yields:
        An instance, and the names of the fields that are saved; None for all.
    """
    for instance, known in _calls(_SAVE_BASE):
        yield instance, known.get("update_fields")


def is_writing_row_of(instance: models.Model) -> bool:
    """
    Return whether a statement is Django's own for the row of an instance.

    Else code that ``save_base`` has called, such as a receiver, is executing it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name in _WRITING:
            return frame.f_locals.get(code.co_varnames[0]) is instance
        if code.co_name == _SAVE_BASE:
            return False
        frame = frame.f_back
    return False


def _calls(*names: str) -> Iterator[tuple[models.Model, dict[str, Any]]]:
    """Yield the instances whose methods of these names are called, with variables."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name in names and code.co_argcount:
            known = frame.f_locals
            instance = known.get(code.co_varnames[0])
            if isinstance(instance, models.Model):
                yield instance, known
        frame = frame.f_back
