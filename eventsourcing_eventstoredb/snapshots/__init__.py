"""Snapshots, which can always be done without."""

from __future__ import annotations
