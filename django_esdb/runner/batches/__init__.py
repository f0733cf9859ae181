"""From received events to committed transactions."""

from __future__ import annotations
