"""Values that cannot be changed in place, and how far they are known."""

from __future__ import annotations

import pickle
from enum import IntEnum
from typing import Any
from uuid import UUID


class Trust(IntEnum):
    """
    How much is known of what the database will give back.

    Attributes:
        CERTAIN: The value is known.
        COMPUTED: It will be taken, and is known when the row is read again.
        DOUBTFUL: The database may refuse or change it, so it is asked at once.
    """

    CERTAIN = 0
    COMPUTED = 1
    DOUBTFUL = 2


Settled = tuple[Any, Trust]

# These cannot be changed in place, and are equal if they are the same.
_LASTING = frozenset((str, int, bool, bytes, UUID))


def same(before: Any, now: Any) -> bool:
    """Return whether two frozen values are alike; 1 and True are not, nor two zeros."""
    return before is now or (
        type(before) is type(now)
        and before == now
        and bool(before or repr(before) == repr(now))
    )


def are_same(before: list[Any], now: list[Any]) -> bool:
    """Return whether two rows' frozen values are alike."""
    return all(map(same, before, now))


def frozen(value: Any) -> Any:
    """Return a value such that later changes in place do not reach it."""
    if value is None or type(value) in _LASTING or hasattr(value, "resolve_expression"):
        return value
    try:
        return _Pickled(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except (pickle.PicklingError, TypeError, AttributeError):
        # Like nothing else, so that the value counts as changed.
        return Opaque(value)


def thawed(value: Any) -> Any:
    """Return a value as it was before it was frozen."""
    return value.value() if isinstance(value, _Pickled | Opaque) else value


class _Pickled(bytes):
    def value(self) -> Any:
        return pickle.loads(self)  # noqa: S301  (made here, of what was in memory)


class Opaque:
    """A value that cannot be frozen, and is like no other."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def value(self) -> Any:
        return self._value
