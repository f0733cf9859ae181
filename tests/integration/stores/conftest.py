from __future__ import annotations

from tests.support.other_stores import school, store

__all__ = ["school", "store"]
