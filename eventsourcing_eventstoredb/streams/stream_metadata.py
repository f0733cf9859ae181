"""What the metadata of a stream say to EventStoreDB."""

from __future__ import annotations

import json
from typing import Any

# How many events the stream keeps.
MAX_COUNT = "$maxCount"
_TRUNCATE_BEFORE = "$tb"
# What the latter is set to when a stream is deleted.
_DELETED = 2**63 - 1


def metadata_stream(name: str) -> str:
    """Return the name of the stream that has a stream's metadata."""
    return f"$${name}"


def parse(data: bytes) -> dict[str, Any]:
    """Return what stored metadata say; nothing where the server would see nothing."""
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {}


def is_deleted(content: dict[str, Any]) -> bool:
    """Tell whether a stream of such metadata is deleted, and can begin again."""
    before = content.get(_TRUNCATE_BEFORE)
    return isinstance(before, int) and before >= _DELETED
