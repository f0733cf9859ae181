"""Copying an application's events from another store into EventStoreDB."""

from __future__ import annotations
