"""
Random IDs of events, a few dozen at a time.

Python lets other threads continue while it asks the system for random bytes. Where many
save, the one that asks waits for its turn again, which takes longer than all else.
"""

from __future__ import annotations

import os
from uuid import UUID

# Few: so many are the same in what runs twice from one stored image of the process.
_AT_ONCE = 64
_BYTES = 16

# The process that they are for, since a forked child has its parent's, and those that
# are left. Replaced as a whole: two threads may find it empty.
_stock: tuple[int, list[UUID]] = (0, [])


def new_event_id() -> UUID:
    """Return a random UUID, as ``uuid4`` does; any thread may call this."""
    global _stock

    process_id = os.getpid()
    owner, left = _stock
    if owner == process_id:
        try:
            return left.pop()
        except IndexError:
            pass
    random = os.urandom(_AT_ONCE * _BYTES)
    left = [
        UUID(bytes=random[place : place + _BYTES], version=4)
        for place in range(0, len(random), _BYTES)
    ]
    new = left.pop()
    _stock = process_id, left
    return new
