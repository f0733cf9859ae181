from __future__ import annotations

from tests.support.site import projecting, school, site_store

__all__ = ["projecting", "school", "site_store"]
