from __future__ import annotations

from tests.support.other_stores import library_store, school

__all__ = ["library_store", "school"]
