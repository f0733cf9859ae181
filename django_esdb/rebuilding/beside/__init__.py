"""Rebuilding a projection's rows next to those in use, which they then replace."""

from __future__ import annotations
