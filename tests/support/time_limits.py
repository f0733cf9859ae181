"""
The limit of a test's time, which holds whatever the test does.

pytest's own uses the one timer that Python's ``faulthandler`` has. It is gone as soon
as a part of a test fails, so that nothing ends a test whose fixtures hang after that,
and as soon as a worker's watch for stalls has used it in the test's process.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator

import pytest


class TimeLimits:
    """
    Ends the process when a test takes too long, with what each thread was doing.

    Args:
        seconds: How long a test may take, with its fixtures.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Output is captured while tests run.
        self._output = os.dup(2)
        # After that the signal does what it does by itself: it ends the process. No
        # thread has to run for any of it.
        faulthandler.register(signal.SIGALRM, self._output, chain=True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
