"""Keeping a process that was forked in a transaction from its parent's connection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from django.db import InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

_open: set[BaseDatabaseWrapper] = set()
# Drivers say goodbye to the server for a connection that is freed, which would end it
# for the parent.
_never_freed: list[Any] = []


@contextmanager
def kept_from_children(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Have a child that is forked within the block not use the connection."""
    is_first = connection not in _open
    _open.add(connection)
    try:
        yield
    finally:
        if is_first:
            _open.discard(connection)


class _OfParent:
    """Stands for a connection that is another process's."""

    def close(self) -> None:
        """Leave it open."""

    def __getattr__(self, name: str) -> NoReturn:
        msg = "The database connection is of the process that this one was forked from"
        raise InterfaceError(msg)


def _leave_to_parent() -> None:
    for connection in _open:
        _never_freed.append(connection.connection)
        connection.connection = _OfParent()


os.register_at_fork(after_in_child=_leave_to_parent)
