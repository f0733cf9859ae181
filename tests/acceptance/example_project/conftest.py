from __future__ import annotations

from tests.support.site import projecting, school, store

__all__ = ["projecting", "school", "store"]
