"""The rules of writing, reading and following."""

from __future__ import annotations
