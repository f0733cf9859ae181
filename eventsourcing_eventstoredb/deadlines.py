"""One deadline for several calls to the event store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from time import monotonic

_end: ContextVar[float | None] = ContextVar("store_deadline", default=None)


@contextmanager
def store_deadline(seconds: float) -> Iterator[None]:
    """
    Limit all that the block does with the event store to so many seconds together.

    Each save and read in the block, with all that it repeats, gets what is left of the
    time, or its own limit where that is less. What begins when the time is over
    raises ``OperationalError`` at once. A block within another cannot take longer than
    that one. Subscriptions that are open are not limited.

    It holds for the thread or task that it is used in.

    Args:
        seconds: How long, above 0.
    """
    if not seconds > 0:
        msg = f"store_deadline takes a number of seconds above 0, not {seconds!r}"
        raise ValueError(msg)
    token = limit(seconds)
    try:
        yield
    finally:
        end_limit(token)


def limit(seconds: float) -> Token[float | None]:
    """
    Begin such a block, which ends with :func:`end_limit`.

    For what is done often: a context manager takes longer.
    """
    outer = _end.get()
    end = monotonic() + seconds
    return _end.set(end if outer is None else min(outer, end))


def end_limit(token: Token[float | None]) -> None:
    """End a block that began with :func:`limit`."""
    _end.reset(token)


def seconds_left(longest: float) -> float:
    """
    Return how long work may take that begins now and may take *longest* by itself.

    Zero or less if the deadline has passed.
    """
    end = _end.get()
    return longest if end is None else min(longest, end - monotonic())
