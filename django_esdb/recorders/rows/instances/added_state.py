"""What Django asks an added instance before it saves it, by which that is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models.base import ModelState


class AddedState(ModelState):
    """
    The state of an instance that is a new row, which is not written yet.

    Who saves it by itself would insert it once more. Django looks first whether it is
    there, or which database it is of: then it is written, so that it is.

    Args:
        instance: The instance, which gets this state.
        flush: Writes what is pending; called at most once.
        using: The database that it is added to, for who asks before it is there. None
            for a row without its primary key, which has to be there first.
    """

    __slots__ = ("_flush", "_has_key")

    def __init__(
        self, instance: models.Model, flush: Callable[[], Any], *, using: str | None
    ) -> None:
        self._flush: Callable[[], Any] | None = None
        self._has_key = using is not None
        self.__dict__.update(_copied(instance._state.__dict__))
        if using is not None:
            # Relations are refused between rows of different databases.
            self.__dict__["db"] = using
        self._flush = flush
        instance._state = self

    @property
    def is_pending(self) -> bool:
        """Whether the instance is still to be written."""
        return self._flush is not None

    def forget(self) -> None:
        """Note that there is nothing to write any more."""
        self._flush = None

    @property
    def adding(self) -> bool:
        self._write()
        return bool(self.__dict__.get("adding", True))

    @adding.setter
    def adding(self, value: bool) -> None:
        self.__dict__["adding"] = value

    @property
    def db(self) -> str | None:
        if not self._has_key:
            # Later Django does not look any more whether it has got one.
            self._write()
        return self.__dict__.get("db")

    @db.setter
    def db(self, value: str | None) -> None:
        self.__dict__["db"] = value

    def _write(self) -> None:
        flush, self._flush = self._flush, None
        if flush is not None:
            flush()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is no row.
        return _plain, (dict(self.__dict__),)


def _plain(values: dict[str, Any]) -> ModelState:
    state = ModelState()
    state.__dict__.update(_copied(values))
    return state


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values for another state, which outlives the one that has them."""
    copied = dict(values)
    if "fields_cache" in copied:
        # A state that is collected empties its own, from Django 6.1 on.
        copied["fields_cache"] = dict(copied["fields_cache"])
    return copied
