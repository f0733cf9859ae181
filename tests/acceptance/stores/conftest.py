from __future__ import annotations

from tests.support.other_stores import store

__all__ = ["store"]
