"""Putting another store's events into EventStoreDB."""

from __future__ import annotations
