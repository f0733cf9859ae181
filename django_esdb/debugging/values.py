"""Values of rows, as JSON and people can read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from django_esdb.masking import STARS, masked

_SECRET_WORDS = frozenset(("passphrase", "passwd", "password", "secret", "token"))
_SECRET_NAMES = re.compile(r"(?:api|access|auth|private|secret|signing)_?key")
_WORDS = re.compile("[a-z0-9]+")


def plain(value: Any, name: str = "") -> Any:
    """
    Return what JSON can say of a value; what is secret in it is not said.

    Args:
        value: Of a field, or in a value of one.
        name: The field's, or the key's; a name such as ``password`` means that all of
            the value is secret.
    """
    if value is None:
        return None
    if is_secret(name):
        return STARS
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return masked("", value)
    if isinstance(value, Mapping):
        return {str(key): plain(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return masked("", str(value))


def is_secret(name: str) -> bool:
    """Return whether a field's name says that its values are secret."""
    folded = name.casefold()
    words = _WORDS.findall(folded.replace("_", " "))
    return bool(_SECRET_WORDS.intersection(words) or _SECRET_NAMES.search(folded))
