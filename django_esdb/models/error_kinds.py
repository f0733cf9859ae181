"""Which errors are alike: their texts without what differs from event to event."""

from __future__ import annotations

import re

LONGEST_KIND = 120

_LEFT_OUT = "…"
_VALUE = re.compile(
    # UUIDs, addresses and digests, and numbers with what holds their digits apart.
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{16,}\b|0x[0-9a-f]+"
    r"|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)


def error_kind(error: str) -> str:
    """
    Return a line that errors have in common which differ in IDs and numbers only.

    It is at most :data:`LONGEST_KIND` characters long, and empty for no error alone.

    Args:
        error: A line, such as failed events have.
    """
    kind = _VALUE.sub(_LEFT_OUT, error)
    if len(kind) > LONGEST_KIND:
        kind = kind[: LONGEST_KIND - 1] + _LEFT_OUT
    # Some databases leave out spaces at the end, others compare them.
    return kind.rstrip() or error[:1]
