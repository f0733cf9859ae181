"""
``pytest --cpu``: how many CPU seconds each file of tests took.

Unlike durations these hardly depend on what else the machine does. They are of the
process that runs the tests and of processes that it started and that have ended.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest

_PROPERTY = "cpu_seconds"


class CpuTimes:
    """Adds to each report what was used since the one before, and sums it up."""

    def __init__(self) -> None:
        self._until = _used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[misc]
        before, self._until = self._until, _used()
        # Not of the item: all later reports of a test would have it, too.
        report.user_properties = [
            *report.user_properties,
            (_PROPERTY, self._until - before),
        ]
        return report  # type: ignore[return-value]

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        seconds: dict[str, float] = defaultdict(float)
        for reports in terminalreporter.stats.values():
            for report in reports:
                if isinstance(report, pytest.TestReport):
                    seconds[report.nodeid.partition("::")[0]] += sum(
                        float(str(value))
                        for name, value in report.user_properties
                        if name == _PROPERTY
                    )
        terminalreporter.section(f"{sum(seconds.values()):.1f} CPU seconds")
        for path, spent in sorted(seconds.items(), key=lambda each: -each[1]):
            terminalreporter.line(f"{spent:6.1f}s {path}")


def _used() -> float:
    return sum(os.times()[:4])
