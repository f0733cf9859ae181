"""Events that are processed for longer than any may take."""

from __future__ import annotations

import logging
import os
import sysconfig
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections

import django_esdb
from django_esdb.conf import settings
from django_esdb.db.connections import close_if_lost
from django_esdb.db.guards import limit_lock_waits
from django_esdb.db.sessions import end_session
from django_esdb.exceptions import EventHangError
from django_esdb.failures.attempts import note_failure
from django_esdb.leases.lease import Lease
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.masking import masked
from django_esdb.runner.time_limits.endings import done_within, write_to_stderr
from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.backoff import keep_trying
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.scheduler import Periodic, Scheduler
from eventsourcing_eventstoredb.text import describe, named_line

logger = logging.getLogger("django_esdb.runner")

_TURN_SECONDS = 1.0
# Between two looks no more than this, or this part of the limit, counts: for longer it
# is the process that stood still, not the event.
_LONGEST_TURN_SECONDS = 10.0
_LONGEST_TURN_PART = 1 / 4
# For which the row's lock may be held by something else.
_WRITE_SECONDS = 10.0
_LOCK_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
# In all, for a database that does not answer.
_RELEASE_SECONDS = 15.0
_LOG_SECONDS = 2.0

# Not the thread that renews leases: that waits for the database, which may be what an
# event hangs in.
_watching = Scheduler("hang-watch")
os.register_at_fork(after_in_child=_watching.forget)

_PACKAGE = str(Path(django_esdb.__file__).parent)
# What calls the projection.
_CALLERS = (f"{_PACKAGE}{os.sep}runner", f"{_PACKAGE}{os.sep}failures")
_LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class HangWatch:
    """
    Looks in a thread for all projections whether an event takes too long.

    Args:
        clock: Knows the event.
        hangs: Called once, in a thread of its own, when one has taken longer than
            ``ESDB_EVENT_SECONDS``; others would have to wait in the watch's.
        name: Of that thread.
    """

    def __init__(
        self, clock: EventClock, hangs: Callable[[], object], name: str
    ) -> None:
        self._clock = clock
        self._hangs = hangs
        self._name = name
        self._seen: float | None = None
        self._seconds = 0.0
        self._looked = monotonic()
        self._periodic: Periodic = _watching.every(_TURN_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        _watching.cancel(self._periodic)

    def _look(self) -> None:
        now = monotonic()
        elapsed, self._looked = now - self._looked, now
        limit = settings.ESDB_EVENT_SECONDS
        longest = min(_LONGEST_TURN_SECONDS, limit * _LONGEST_TURN_PART)
        elapsed = min(elapsed, max(_TURN_SECONDS * 1.5, longest))
        began = self._clock.began if self._clock.is_under_way else None
        if began is None:
            self._seen = None
        elif began != self._seen:
            self._seen, self._seconds = began, min(elapsed, now - began)
        else:
            self._seconds += elapsed
            if self._seconds >= limit:
                _watching.cancel(self._periodic)
                threading.Thread(
                    target=self._hangs, name=self._name, daemon=True
                ).start()


def hang_error(projection: str, clock: EventClock) -> EventHangError:
    """
    Return an error that says at which event a projection hangs, and where.

    The stack of the thread is its ``stack``, without values.
    """
    frame = clock.frame()
    stack = [] if frame is None else traceback.extract_stack(frame)
    del frame
    failed_event, notification = clock.failed_event, clock.notification
    doing = "an event" if failed_event is None else f"failed event {failed_event}"
    if clock.is_committing:
        doing = "committing"
    event = "" if notification is None else f": {describe(notification)}"
    error = EventHangError(
        f"Projection {projection!r} hangs at {doing}, for more than "
        f"{settings.ESDB_EVENT_SECONDS:g} s{_place(stack)}{event}"
    )
    error.position = 0 if notification is None else notification.id
    error.failed_event = failed_event
    error.stack = masked("", "".join(traceback.format_list(_handlers_part(stack))))
    return error


def log_hang(error: EventHangError) -> None:
    """
    Log where a projection hangs.

    It may hang while it logs, with the lock of a handler. Then the line is written to
    standard error.
    """
    what = f"{error}; the process ends, and another may take over"
    if not _logged(
        "An event hangs", position=error.position or None, error=what, below=error.stack
    ):
        done_within(_LOG_SECONDS, lambda: write_to_stderr(what))


def release_what_hangs(lease: Lease, clock: EventClock, error: EventHangError) -> None:
    """
    Let another process take over from a thread that hangs, and say why in the row.

    Its session in the database is ended, with the locks that it has. Blocks for as
    long as the database is given to do so. A failed event that was tried again is not
    the position's fault: its own row says why it has failed.

    Args:
        lease: The projection's, which is not renewed any more.
        clock: Knows the thread's session, and whether it is at an event.
        error: What to write down.
    """
    is_blamed = not clock.is_committing and error.failed_event is None
    position = clock.position if is_blamed else None

    def write() -> None:
        lease.give_up_at(str(error), position, traceback_of(error))
        _note_retry(lease.tracked, error)

    _undo(lease.tracked, clock, write)


def undo_retry(
    tracked: TrackedProjection, clock: EventClock, error: EventHangError
) -> None:
    """
    End what a thread does in the database that hangs at a failed event, and say so.

    As :func:`release_what_hangs`, of a process that has no lease.
    """
    _undo(tracked, clock, lambda: _note_retry(tracked, error))


def _note_retry(tracked: TrackedProjection, error: EventHangError) -> None:
    if error.failed_event is not None:
        note_failure(tracked, error.failed_event, str(error), traceback_of(error))


def _undo(
    tracked: TrackedProjection, clock: EventClock, write: Callable[[], object]
) -> None:
    if not done_within(_RELEASE_SECONDS, lambda: _try_to_undo(tracked, clock, write)):
        reason = f"the database has not answered in {_RELEASE_SECONDS} s"
        _log_unwritten(tracked, reason)


def _try_to_undo(
    tracked: TrackedProjection, clock: EventClock, write: Callable[[], object]
) -> None:
    using = tracked.using
    session = clock.session
    end = monotonic() + _WRITE_SECONDS

    def release() -> None:
        if session is not None:
            end_session(session, clock.frame)
        limit_lock_waits(connections[using], _LOCK_SECONDS)
        write()

    def pause_after(failure: Exception) -> float | None:
        close_if_lost(connections[using])
        is_over = monotonic() > end or not isinstance(failure, DatabaseError)
        return None if is_over else _PAUSE_SECONDS

    def wait(seconds: float) -> bool:
        sleep(seconds)
        return True

    try:
        keep_trying(release, pause_after, wait)
    except Exception as failure:
        _log_unwritten(tracked, named_line(failure))
    finally:
        with suppress(DatabaseError):
            connections[using].close()


def _log_unwritten(tracked: TrackedProjection, reason: str) -> None:
    _logged(
        "That an event hangs could not be written down",
        projection=tracked.projection,
        application=tracked.application,
        error=reason,
    )


def _logged(text: str, **values: Any) -> bool:
    return done_within(_LOG_SECONDS, lambda: log(logger, logging.ERROR, text, **values))


def _handlers_part(stack: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Leave out how the runner came to call the projection."""
    own = [n for n, each in enumerate(stack) if each.filename.startswith(_CALLERS)]
    return stack[own[-1] :] if own else stack


def _place(stack: list[traceback.FrameSummary]) -> str:
    """Return the innermost place in the project's own code, else of any."""
    own = [frame for frame in stack if not _is_library(frame.filename)]
    if not (found := own or stack):
        return ""
    frame = found[-1]
    path = Path(frame.filename)
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f", in {frame.name} ({path}:{frame.lineno})"


def _is_library(filename: str) -> bool:
    return filename.startswith((_PACKAGE, *_LIBRARIES, "<frozen"))
