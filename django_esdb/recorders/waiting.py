"""Waiting until a projection has processed events, by asking its database."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic, sleep

from django.db import Error as DatabaseError
from django.db import connections
from eventsourcing.persistence import WaitInterruptedError

from django_esdb.db.connections import close_if_lost
from django_esdb.db.guards import sees_new_commits
from django_esdb.exceptions import (
    NotProcessedError,
    UnregisteredWaitError,
    WaitInTransactionError,
)
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.recorders.outcomes import Awaited, WaitResult
from django_esdb.registered_names import not_registered

_FIRST_WAIT_SECONDS = 0.001
_LONGEST_WAIT_SECONDS = 0.1
# Within which most events are processed.
_SOON_SECONDS = 0.004


def poll_pause(waited: float) -> float:
    """
    Return how long to wait until the next poll, in seconds.

    It grows with what was waited already, in seconds: what is there soon is seen at
    once, and what takes long costs few queries.
    """
    if waited < _SOON_SECONDS:
        return _FIRST_WAIT_SECONDS
    return min(waited / 2, _LONGEST_WAIT_SECONDS)


def wait_until_processed(
    tracked: TrackedProjection,
    position: int,
    timeout: float,
    interrupt: threading.Event | None = None,
    await_arrival: Callable[[int, float], object] | None = None,
) -> None:
    """
    Block until the event at this position is processed.

    The arguments and what is raised are those of
    :meth:`~django_esdb.recorders.DjangoTrackingRecorder.wait`; *await_arrival* is that
    of :func:`wait_for_outcome`.
    """
    if interrupt is None:
        _require_known(tracked, position)
    awaited = Awaited(position)
    outcome = wait_for_outcome(tracked, awaited, timeout, interrupt, await_arrival)
    if outcome is WaitResult.TIMED_OUT:
        msg = (
            f"Projection {tracked.projection!r} did not process notification "
            f"{position} of {tracked.application!r} within {timeout} s; "
            + (not_registered(tracked.projection) or "is runprojections running?")
        )
        raise TimeoutError(msg)
    if not outcome:
        raise NotProcessedError(tracked.projection, position, outcome.value)


def wait_for_outcome(
    tracked: TrackedProjection,
    awaited: Awaited,
    timeout: float,
    interrupt: threading.Event | None = None,
    await_arrival: Callable[[int, float], object] | None = None,
) -> WaitResult:
    """
    Block until it is known what has become of events, or the time is over.

    Args:
        tracked: The projection that is to process them.
        awaited: The events.
        timeout: Most seconds to wait.
        interrupt: Ends the wait when it is set.
        await_arrival: Blocks until a position is processed in this process, or will not
            be, or so many seconds are over. Until then the database is not asked again.

    Raises:
        TypeError: *timeout* is no number.
        ValueError: It is not one that can be over.
        django.db.Error: The database could not be asked, in the end.
        WaitInterruptedError: *interrupt* was set.
        WaitInTransactionError: The calling code is in a transaction that does not see
            what others commit.
    """
    check_timeout(timeout)
    began = monotonic()
    is_seen = False
    while True:
        outcome = poll(tracked, awaited)
        if isinstance(outcome, WaitResult):
            return outcome
        # Asked once: it costs a query within a transaction.
        is_seen = is_seen or sees_new_commits(connections[tracked.using])
        if not is_seen:
            msg = (
                f"Cannot wait for {tracked.application!r} to be processed within a "
                f"transaction on database {tracked.using!r}: it would not see the "
                "change; wait before the transaction begins or after it ends"
            )
            raise WaitInTransactionError(msg)
        waited = monotonic() - began
        if waited >= timeout:
            if outcome is not None:
                raise outcome
            return WaitResult.TIMED_OUT
        if await_arrival is not None:
            await_arrival(awaited.position, timeout - waited)
            await_arrival = None
            continue
        pause = min(poll_pause(waited), timeout - waited)
        if interrupt is None:
            sleep(pause)
        elif interrupt.wait(pause):
            raise WaitInterruptedError


def outcome_in_transaction(
    tracked: TrackedProjection, awaited: Awaited
) -> WaitResult | None:
    """
    Return what has become of events where this thread is in a transaction of its own.

    Others do not see what is in it, such as rows that a test has had projected.

    Returns:
        None if there is no transaction, or it is not known in it either.

    Raises:
        django.db.Error: The database could not be asked.
        WaitInTransactionError: The transaction does not see what others commit.
    """
    if not connections[tracked.using].in_atomic_block:
        return None
    outcome = wait_for_outcome(tracked, awaited, 0)
    return None if outcome is WaitResult.TIMED_OUT else outcome


def check_timeout(timeout: object) -> None:
    """
    Refuse what is no number of seconds.

    Raises:
        TypeError: It is no number.
        ValueError: It is not one that can be over.
    """
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        name = type(timeout).__name__
        msg = f"timeout must be a number of seconds, but is of type {name}"
        raise TypeError(msg)
    if math.isnan(timeout):
        msg = "timeout must be a number of seconds, but is nan"
        raise ValueError(msg)


def poll(
    tracked: TrackedProjection, awaited: Awaited
) -> WaitResult | DatabaseError | None:
    """
    Return what has become of events, None if that is open; one query.

    Returns the error where the connection was lost, so that another try is on a
    new one.

    Raises:
        django.db.Error: The database could not be asked.
    """
    try:
        return awaited.outcome(tracked)
    except DatabaseError as error:
        if not close_if_lost(connections[tracked.using]):
            raise
        return error


def _require_known(tracked: TrackedProjection, position: int) -> None:
    """Refuse to wait under a name that nothing was ever processed under."""
    reason = not_registered(tracked.projection)
    if reason is None:
        return
    try:
        # As after the first event of a runner that was made by hand, which needs no
        # registration; who waits with one before that can interrupt it.
        is_known = tracked.queryset().exists()
    except DatabaseError:
        # Waiting outlives it.
        if not close_if_lost(connections[tracked.using]):
            raise
        return
    if not is_known:
        raise UnregisteredWaitError(tracked.projection, position, reason)
