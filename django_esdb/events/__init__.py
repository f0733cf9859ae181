"""An application's events, for people who look at them."""

from __future__ import annotations
