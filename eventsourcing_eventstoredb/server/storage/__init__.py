"""The log, and where it is kept; knows no protocol."""

from __future__ import annotations
