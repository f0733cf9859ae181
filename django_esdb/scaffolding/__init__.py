"""What ``startprojection`` writes: a projection with all that belongs to it."""

from __future__ import annotations
