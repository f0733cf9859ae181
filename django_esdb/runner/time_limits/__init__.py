"""What takes too long, and ending it."""

from __future__ import annotations
