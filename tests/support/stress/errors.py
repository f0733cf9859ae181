from __future__ import annotations


class StressError(Exception):
    """A run cannot continue; the text says why."""


class Disagreement(StressError):  # noqa: N818  (that is what it is)
    """Rows, position or what writers were told do not agree with the log."""


class Stopped(Exception):  # noqa: N818  (no error)
    """The run was asked to end."""
