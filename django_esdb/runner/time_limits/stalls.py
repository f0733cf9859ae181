"""Code that lets no other thread run, so that nothing in Python could notice it."""

from __future__ import annotations

import faulthandler
from contextlib import suppress
from time import monotonic

from django_esdb.conf import settings

_POSTPONED_EVERY_SECONDS = 5.0
# Time for the usual way, which says more, to be first.
_GRACE_SECONDS = 10.0


class StallWatch:
    """
    Ends the process, with status 1, when its threads have stood still for too long.

    A regular expression that takes for ever, for example, keeps Python's lock all the
    time. The stacks of all threads are written to standard error then, by a thread of
    Python's own that does without the lock.
    """

    def __init__(self) -> None:
        self._postponed_at: float | None = None

    def postpone(self) -> None:
        """Say that all is well; to be called every few seconds."""
        now = monotonic()
        at = self._postponed_at
        if at is None or now - at > _POSTPONED_EVERY_SECONDS:
            self._postponed_at = now
            seconds = (
                settings.ESDB_EVENT_SECONDS + _POSTPONED_EVERY_SECONDS + _GRACE_SECONDS
            )
            # Standard error may be no file.
            with suppress(ValueError, OSError, RuntimeError, AttributeError):
                faulthandler.dump_traceback_later(seconds, exit=True)

    def stop(self) -> None:
        """Watch no more."""
        if self._postponed_at is not None:
            self._postponed_at = None
            faulthandler.cancel_dump_traceback_later()
