"""Code in which nothing may be saved, whatever it calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from eventsourcing.persistence import ProgrammingError

from eventsourcing_eventstoredb.inheriting import inherit

_why: ContextVar[str] = ContextVar("refused_saves", default="")


@contextmanager
def saves_refused(why: str) -> Iterator[None]:
    """
    Refuse to save events and snapshots in the block, and in threads that it starts.

    Args:
        why: What the error says; not empty.
    """
    inherit(_why)
    token = _why.set(why)
    try:
        yield
    finally:
        _why.reset(token)


def check_not_refused() -> None:
    """
    Raise an error where nothing may be saved.

    Raises:
        ProgrammingError: The calling code is in such a block.
    """
    if why := _why.get():
        raise ProgrammingError(why)
