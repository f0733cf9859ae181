"""How far projections are behind."""

from __future__ import annotations
