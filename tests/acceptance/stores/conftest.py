from __future__ import annotations

from tests.support.other_stores import library_store

__all__ = ["library_store"]
