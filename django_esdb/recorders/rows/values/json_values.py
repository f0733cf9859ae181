"""Values of JSON fields: kept such that it is fast, and told apart."""

from __future__ import annotations

import marshal
from typing import Any

from django_esdb.recorders.rows.values.frozen import Opaque, Settled, Trust, thawed

# Between these PostgreSQL keeps numbers of JSON as they are.
_LEAST_FLOAT = 1e-4
_LARGEST_FLOAT = 1e15
# MariaDB takes 32 lists and objects within each other, and no more.
_DEEPEST = 30


class JSONValues:
    """
    Keeps a JSONField's values.

    A list of texts is kept as a tuple, which takes no copies of them, and anything else
    marshalled, which is fast.
    """

    def __init__(self, field: Any, is_sorted: bool) -> None:
        self._is_own = field.encoder is not None or field.decoder is not None
        self._is_sorted = is_sorted

    def freeze(self, value: Any) -> Any:
        """Return a value as it is kept, if it is one that JSON may have."""
        if value is None:
            return None
        if type(value) is list and value:
            for item in value:
                # A subclass may have more to it.
                if type(item) is not str:
                    break
            else:
                return tuple(value)
        try:
            return marshal.dumps(value, _PLAIN_FORMAT)
        except ValueError:
            return value if hasattr(value, "resolve_expression") else Opaque(value)

    def thaw(self, frozen: Any) -> Any:
        if type(frozen) is tuple:
            return list(frozen)
        if type(frozen) is bytes:
            return marshal.loads(frozen)  # noqa: S302  (made here, of what was in memory)
        return thawed(frozen)

    def settle(self, value: Any) -> Settled:
        return self.settle_frozen(value, self.freeze(value))

    def settle_frozen(self, value: Any, frozen: Any) -> Settled:
        # What marshal refuses is no plain value, such as members of an enumeration.
        if self._is_own or not is_kept(frozen):
            return frozen, Trust.DOUBTFUL
        if type(frozen) is tuple and _are_ascii(frozen):
            # Mostly these, which is told without a call for each.
            return frozen, Trust.CERTAIN
        if not _is_plain_json(value):
            return frozen, Trust.DOUBTFUL
        if self._is_sorted and type(frozen) is bytes and _OBJECT in frozen:
            frozen = self.freeze(_as_jsonb_keeps_it(value))
        return frozen, Trust.CERTAIN


def is_kept(frozen: Any) -> bool:
    """Return whether a frozen value is one that :class:`JSONValues` could freeze."""
    return type(frozen) is bytes or type(frozen) is tuple


# A format without references, in which equal values have equal bytes.
_PLAIN_FORMAT = 2
# What a marshalled dictionary begins with.
_OBJECT = b"{"


def _is_plain_json(value: Any, depth: int = 0) -> bool:
    """
    Return whether every database gives back just this value.

    PostgreSQL makes whole numbers of large floats and has no negative zero; some
    databases refuse infinities, NUL, half a surrogate pair, and what lies too deep.
    """
    kind = type(value)
    if kind is str:
        return bool(value.isascii() and "\0" not in value) or _is_plain_text(value)
    if (kind is list or kind is dict) and depth >= _DEEPEST:
        return False
    if kind is list:
        for item in value:
            # Mostly these, without a call for each.
            is_plain = type(item) is str and item.isascii() and "\0" not in item
            if not is_plain and not _is_plain_json(item, depth + 1):
                return False
        return True
    if kind is dict:
        return all(
            type(key) is str and _is_plain_text(key) and _is_plain_json(item, depth + 1)
            for key, item in value.items()
        )
    if kind is float:
        return _LEAST_FLOAT < abs(value) < _LARGEST_FLOAT or repr(value) == "0.0"
    return kind in (int, bool, type(None))


def _are_ascii(texts: tuple[str, ...]) -> bool:
    """Return whether all are in ASCII without NUL."""
    text = "".join(texts)
    return text.isascii() and "\0" not in text


def _is_plain_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _as_jsonb_keeps_it(value: Any) -> Any:
    """Return a value with its keys in PostgreSQL's order: by length, then by bytes."""
    if type(value) is list:
        return [_as_jsonb_keeps_it(item) for item in value]
    if type(value) is dict:
        return {
            key: _as_jsonb_keeps_it(value[key])
            for key in sorted(value, key=_jsonb_order)
        }
    return value


def _jsonb_order(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded
