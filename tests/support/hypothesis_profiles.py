"""
How much the tests try that draw their examples: ``HYPOTHESIS_PROFILE`` says it.

``quick`` is what a run has time for, with less of it on other databases than SQLite,
where an example takes longer. ``thorough`` tries several times as much; it is for runs
of these tests alone. Both try the same examples each time, so that a run says something
of the code that it is for. ``stress`` tries many others each time, and ``shrink`` looks
for the smallest example that fails, which may take minutes.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def load(*, is_sqlite: bool) -> None:
    """Use the profile that the environment names, else ``quick``."""
    # How long an example takes says something about the machine's load alone.
    base = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    same = settings(base, derandomize=True, database=None, phases=_WITHOUT_SHRINKING)
    settings.register_profile("quick", same, max_examples=15 if is_sqlite else 10)
    settings.register_profile("thorough", same, max_examples=60)
    settings.register_profile(
        "stress", base, max_examples=1000, phases=_WITHOUT_SHRINKING
    )
    settings.register_profile("shrink", base, max_examples=150)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
