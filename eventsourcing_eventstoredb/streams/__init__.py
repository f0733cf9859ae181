"""An application's events in streams: where they lie, appending and reading them."""

from __future__ import annotations
