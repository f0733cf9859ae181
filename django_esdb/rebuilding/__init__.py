"""Rebuilding a projection's rows, while a site and workers run."""

from __future__ import annotations
