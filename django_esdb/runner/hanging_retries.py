"""Failed events that hang when a command tries them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django_esdb.registry import Registration
from django_esdb.runner.time_limits.endings import (
    done_within,
    end_process,
    write_to_stderr,
)
from django_esdb.runner.time_limits.hangs import HangWatch, hang_error, undo_retry
from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.runner.worker import HANG_STATUS

_TELL_SECONDS = 2.0


@contextmanager
def process_ends_if_one_hangs(registration: Registration) -> Iterator[EventClock]:
    """
    End the process, with status 5, when a failed event that it tries again hangs.

    What the event did in the database is undone, and its row says where it hangs.

    Args:
        registration: The projection.

    Returns:
        What has to be told of the events.
    """
    clock = EventClock()

    def end() -> None:
        error = hang_error(registration.name, clock)
        text = f"{error}; it stays put aside, and the process ends"
        done_within(_TELL_SECONDS, lambda: write_to_stderr(text))
        undo_retry(registration.tracked(), clock, error)
        end_process(HANG_STATUS)

    watch = HangWatch(clock, end, f"{registration.name}-hangs")
    try:
        yield clock
    finally:
        watch.stop()
