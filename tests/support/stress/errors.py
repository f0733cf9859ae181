from __future__ import annotations


class StressError(Exception):
    """A run cannot go on; the text says why."""


class Disagreement(StressError):  # noqa: N818  (that is what it is)
    """Rows, position or what writers were told do not agree with the log."""


class Stopped(Exception):  # noqa: N818  (no error)
    """Somebody wants the run to end."""
