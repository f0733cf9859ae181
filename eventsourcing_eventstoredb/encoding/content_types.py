"""
What events are marked as: JSON, or any bytes.

EventStoreDB shows the data of the former in its pages and gives them to its own
projections, which stop at data that are marked as JSON and are none. So the bytes
decide, not what an application is configured with.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

JSON = "application/json"
BINARY = "application/octet-stream"


def content_type_of(data: bytes) -> str:
    """Return ``application/json`` for what is JSON in UTF-8, else the one for bytes."""
    try:
        _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        # Also of what is nested too deeply to be looked through.
        return BINARY
    return JSON


def parse_content_type(text: str | None) -> bool:
    """
    Return whether events may be marked as JSON: unless a setting says otherwise.

    Raises:
        ValueError: It is none of the two.
    """
    if not text or text == JSON:
        return True
    if text == BINARY:
        return False
    msg = f"is {text!r}, but must be {JSON!r} or {BINARY!r}"
    raise ValueError(msg)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _text(number: str) -> Any:
    # Python converts no numbers of thousands of digits.
    return number


# NaN and Infinity, which Python reads and writes, are not JSON.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_text, parse_float=_text)
