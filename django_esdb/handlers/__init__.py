"""What processes events: the functions, and what they are given beside the event."""

from __future__ import annotations
