"""Following an application's events, on any persistence module."""

from __future__ import annotations
