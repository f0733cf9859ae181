"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# Generous, for machines that are busy with other things.
SECONDS = 60


def wait_until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until a condition is true; fail if that takes too long."""
    end = time.monotonic() + SECONDS
    pause = 0.01
    while not condition():
        assert time.monotonic() < end, what or "it did not come to that"
        time.sleep(pause)
        # Most conditions ask a database, which takes a part of the processor.
        pause = min(2 * pause, 0.1)
