from __future__ import annotations

from tests.support.clients import client

__all__ = ["client"]
