"""Reading one's own writes: waiting for a projection to have processed them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync, sync_to_async
from eventsourcing.persistence import Recording
from eventsourcing.projection import Projection

from django_esdb.registry import registry
from django_esdb.topics.subscribed import is_among
from eventsourcing_eventstoredb.text import storable

if TYPE_CHECKING:
    from django_esdb.leases.tracked import TrackedProjection
    from django_esdb.recorders.outcomes import Awaited, WaitResult

# After which the calling code's own transaction is looked into; what a worker processes
# is mostly there by then.
_SOON_SECONDS = 0.1

_Recorded = Iterable[Recording[Any]] | int


def wait_for(
    projection: type[Projection[Any]] | str,
    recorded: _Recorded,
    timeout: float = 1.0,
) -> WaitResult:
    """
    Block until a projection has processed what was recorded.

    It returns at once if nothing of it is among the projection's topics, and early if
    the projection is paused.

    Args:
        projection: A registered projection, or its name.
        recorded: What ``save()`` of the application has returned, or a position.
        timeout: Most seconds to wait.

    Returns:
        What has become of it: true if it is processed, or of no topic of the
        projection. If not, it is recorded all the same.

    Raises:
        NotRegisteredError: There is no such projection.
        TypeError: Its view is not in the database, or an argument is not of its type.
        ValueError: *timeout* is not a number that can be over.
        WaitInTransactionError: The calling code is in a transaction that does
            not see what others commit.
    """
    # Loads models, which importing this package must not.
    from django_esdb.recorders.outcomes import WaitResult
    from django_esdb.recorders.waiting import wait_for_outcome

    waiting = _Waiting(projection, recorded)
    if waiting.awaited is None:
        return WaitResult.OTHER_TOPICS
    return wait_for_outcome(waiting.tracked, waiting.awaited, timeout)


async def async_wait_for(
    projection: type[Projection[Any]] | str,
    recorded: _Recorded,
    timeout: float = 1.0,
) -> WaitResult:
    """
    Wait as :func:`wait_for` does, without a thread for each waiter.

    All waiters of the process share one thread, and one connection to each database,
    for their queries; a pause takes neither. Both end with the last waiter.

    What takes longer is looked for once in the transaction of the calling code, too, if
    it is in one, as code in a ``TestCase`` is.

    Raises:
        NotRegisteredError: There is no such projection.
        TypeError: Its view is not in the database, or an argument is not of its type.
        ValueError: *timeout* is not a number that can be over.
        WaitInTransactionError: The calling code is in a transaction that does
            not see what others commit.
        django.db.Error: The database could not be asked, in the end.
    """
    # As above.
    from django.db import Error as DatabaseError

    from django_esdb.recorders.outcomes import WaitResult
    from django_esdb.recorders.waiting import (
        check_timeout,
        poll,
        poll_pause,
    )

    check_timeout(timeout)
    waiting = _Waiting(projection, recorded)
    if waiting.awaited is None:
        return WaitResult.OTHER_TOPICS
    began = monotonic()
    polling = _polling
    is_caller_asked = False
    with polling:
        while True:
            outcome: WaitResult | DatabaseError | None
            has_failed = False
            try:
                polled = polling.submit(poll, waiting.tracked, waiting.awaited)
                outcome = await asyncio.wrap_future(polled)
            except DatabaseError as error:
                # Such as of a test's database in memory, whose tables its own
                # transaction has locked.
                outcome, has_failed = error, True
            if isinstance(outcome, WaitResult):
                return outcome
            waited = monotonic() - began
            is_over = has_failed or waited >= timeout
            if not is_caller_asked and (is_over or waited >= _SOON_SECONDS):
                is_caller_asked = True
                known = await _outcome_of_caller(waiting.tracked, waiting.awaited)
                if known is not None:
                    return known
            if is_over:
                if outcome is not None:
                    raise outcome
                return WaitResult.TIMED_OUT
            await asyncio.sleep(min(poll_pause(waited), timeout - waited))


class _Waiting:
    """What is waited for, and whose row tells; nothing if *awaited* is None."""

    def __init__(
        self, projection: type[Projection[Any]] | str, recorded: _Recorded
    ) -> None:
        # As above.
        from django_esdb.recorders.outcomes import Awaited
        from django_esdb.recorders.recorder import DjangoTrackingRecorder

        name: object = getattr(projection, "name", projection)
        if not isinstance(name, str):
            msg = (
                "projection must be a registered projection or its name, but is of "
                f"type {type(projection).__name__}"
            )
            raise TypeError(msg)
        registration = registry.get(name)
        view_class = registration.view_class
        if not issubclass(view_class, DjangoTrackingRecorder):
            msg = (
                f"{view_class.__name__} is not in the database: nothing can be "
                "waited for"
            )
            raise TypeError(msg)
        self.tracked = registration.tracked()
        self.awaited: Awaited | None = None
        if isinstance(recorded, int) and not isinstance(recorded, bool):
            self.awaited = Awaited(recorded)
            return
        recorded = _recordings(recorded)
        topics = registration.topics
        notifications = [
            recording.notification
            for recording in recorded
            if is_among(recording.notification.topic, topics)
        ]
        if notifications:
            self.awaited = Awaited(
                max(each.id for each in notifications),
                tuple(
                    (storable(str(each.originator_id)), each.originator_version)
                    for each in notifications
                ),
            )


async def _outcome_of_caller(
    tracked: TrackedProjection, awaited: Awaited
) -> WaitResult | None:
    """Ask in the thread of synchronous code that waits for this, if there is one."""
    # As above.
    from django_esdb.recorders.waiting import outcome_in_transaction

    if getattr(AsyncToSync.executors, "current", None) is None:
        return None
    # It may be in a transaction.
    return await sync_to_async(outcome_in_transaction)(tracked, awaited)


def _recordings(recorded: object) -> tuple[Recording[Any], ...]:
    if isinstance(recorded, Iterable):
        found = tuple(recorded)
        if all(isinstance(each, Recording) for each in found):
            return found
    msg = (
        "recorded must be what save() of the application has returned, or a position, "
        f"but is of type {type(recorded).__name__}"
    )
    raise TypeError(msg)


class _Polling:
    """The thread that asks databases for all that wait; there while some do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters = 0
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._waiters += 1
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, "django-esdb-waiting")

    def __exit__(self, *exc_info: object) -> None:
        # Loads Django's databases.
        from django_esdb.db.connections import close_connections

        with self._lock:
            self._waiters -= 1
            if not self._waiters and self._executor is not None:
                # Only the thread itself could close its own.
                self._executor.submit(close_connections)
                self._executor.shutdown(wait=False)
                self._executor = None

    def submit(self, *call: Any) -> Any:
        assert self._executor is not None
        return self._executor.submit(*call)


_polling = _Polling()


def _forget_after_fork() -> None:
    # A child has its parent's waiters and executor, and not the thread.
    global _polling
    _polling = _Polling()


os.register_at_fork(after_in_child=_forget_after_fork)
