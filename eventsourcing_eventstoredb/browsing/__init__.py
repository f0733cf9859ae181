"""Looking at what lies in the store, by any client."""

from __future__ import annotations
