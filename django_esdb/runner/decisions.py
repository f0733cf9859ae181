"""What a projection does about an error: the one place where that is decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from eventsourcing.persistence import InterfaceError, OperationalError

from django_esdb.applications.store_address import is_of_store
from django_esdb.db.errors import is_transient
from django_esdb.exceptions import (
    EventError,
    LeaseHeldError,
    LeaseLostError,
    ProjectionPausedError,
)
from eventsourcing_eventstoredb.backoff import Backoff
from eventsourcing_eventstoredb.exceptions import NodeBehindError

# Of the pauses before another attempt.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# The same where the event store is away, which many processes wait for.
LONGEST_STORE_PAUSE_SECONDS = 5.0
# How soon an owner's clean shutdown is noticed, and a pause's end.
STANDBY_SECONDS = 0.5
# Between attempts to stand by: a process that does must take over soon.
LONGEST_STANDBY_SECONDS = 10.0
# With --until-caught-up the caller waits for the end.
MAX_FAILED_TURNS = 5


class Action(Enum):
    """
    What to do next.

    Attributes:
        RETRY: Try again after the pause; who has the lease keeps it, unless the
            projection has never begun.
        STAND_BY: Ask for the lease after the pause.
        PAUSE: Stop at the event until a retry is asked for, and wait for that.
        ASK_OTHERS: Find out whether another projection of the process could begin,
            and decide again.
        STOP: End without an error.
        FAIL: End with the error.
    """

    RETRY = auto()
    STAND_BY = auto()
    PAUSE = auto()
    ASK_OTHERS = auto()
    STOP = auto()
    FAIL = auto()


@dataclass(frozen=True, kw_only=True)
class Known:
    """
    What is known when an error is decided about.

    Attributes:
        has_begun: Whether the projection has run, or there was something worth
            waiting for.
        has_lease: Whether this process is the projection's owner.
        awaits_store: Whether the event store is away, and may still be waited for.
        may_begin_again: Whether another projection of the process could begin; None
            if that has to be found out.
        failed_turns: How many turns in a row failed without progress, with this one.
        until_caught_up: Whether the projection is to end when it has caught up.
        exclusive: Whether another owner is an error.
        fail_fast: Whether to fail instead of being paused.
        is_given_up: Whether the policy has given the event up.
        event_failures: How often the event has failed.
        stopping: Whether the projection is to end.
    """

    has_begun: bool = False
    has_lease: bool = False
    awaits_store: bool = False
    may_begin_again: bool | None = False
    failed_turns: int = 1
    until_caught_up: bool = False
    exclusive: bool = False
    fail_fast: bool = False
    is_given_up: bool = False
    event_failures: int = 0
    stopping: bool = False


@dataclass(frozen=True)
class Decision:
    """
    What to do about an error.

    Attributes:
        action: What to do.
        seconds: How long to wait before, at most.
    """

    action: Action
    seconds: float = 0.0


_FAIL = Decision(Action.FAIL)


def decide(error: BaseException, known: Known) -> Decision:
    """
    Return what to do about an error; the first line that is true counts.

    ==============================================================  ==============
    error, and what is known                                        decision
    ==============================================================  ==============
    another process has the lease, to rebuild it                    stand by
    another process has the lease: exclusive                        fail
    another process has the lease                                   stand by
    the projection is paused: fail fast or until caught up          fail
    the projection is paused                                        stand by
    the lease was lost, since it was reset, rebuilt or paused       stand by, now
    the lease was lost: exclusive                                   fail
    the lease was lost                                              stand by, now
    a node of the event store is behind: stopping                   stop
    a node of the event store is behind                             retry
    an event failed and is given up: fail fast or until caught up   fail
    an event failed and is given up                                 pause
    an event failed: stopping                                       stop
    an event failed                                                 retry
    transient, never begun: stopping, store is waited for           stop
    transient, never begun: store is waited for                     retry
    transient, never begun: fail fast or until caught up            fail
    transient: stopping                                             stop
    transient, never begun: not known whether another could begin   ask others
    transient, never begun: none other could begin                  fail
    transient, never begun: another could begin                     retry
    transient, owner: until caught up, too many failed turns        fail
    transient, owner                                                retry
    transient, standing by                                          retry
    anything else                                                   fail
    ==============================================================  ==============

    Pauses before a retry double, from half a second on: for an event with its failures,
    else with the turns that failed in a row, to 5 seconds while the store is away.
    """
    if isinstance(error, LeaseHeldError):
        fails = known.exclusive and not error.is_rebuild
        return _FAIL if fails else _stand_by()
    refuses_pause = known.fail_fast or known.until_caught_up
    if isinstance(error, ProjectionPausedError):
        return _FAIL if refuses_pause else _stand_by()
    if isinstance(error, LeaseLostError):
        is_nobodys = error.was_reset or error.was_paused
        fails = known.exclusive and not is_nobodys
        return _FAIL if fails else Decision(Action.STAND_BY)
    if isinstance(error, NodeBehindError):
        return Decision(Action.STOP) if known.stopping else _retry(1)
    if isinstance(error, EventError):
        if known.is_given_up:
            return _FAIL if refuses_pause else Decision(Action.PAUSE)
        return Decision(Action.STOP) if known.stopping else _retry(known.event_failures)
    if is_transient(error):
        longest = LONGEST_STORE_PAUSE_SECONDS if is_store_outage(error) else None
        return _decide_about_transient(known, longest)
    return _FAIL


def is_store_outage(error: BaseException) -> bool:
    """Return whether it is the event store that is away, and not a database."""
    if isinstance(error, NodeBehindError):
        return False
    return isinstance(error, OperationalError | InterfaceError) and is_of_store(error)


def _decide_about_transient(known: Known, longest: float | None) -> Decision:
    if not known.has_begun and known.awaits_store:
        if known.stopping:
            return Decision(Action.STOP)
        return _retry(known.failed_turns, longest)
    if not known.has_begun and (known.fail_fast or known.until_caught_up):
        return _FAIL
    if known.stopping:
        return Decision(Action.STOP)
    if not known.has_begun:
        if known.may_begin_again is None:
            return Decision(Action.ASK_OTHERS)
        # What cannot even begin is more likely wrong than away for a moment.
        if not known.may_begin_again:
            return _FAIL
        return _retry(known.failed_turns, longest)
    if not known.has_lease:
        return _retry(known.failed_turns, longest or LONGEST_STANDBY_SECONDS)
    if known.until_caught_up and known.failed_turns >= MAX_FAILED_TURNS:
        return _FAIL
    return _retry(known.failed_turns, longest)


def _stand_by() -> Decision:
    return Decision(Action.STAND_BY, STANDBY_SECONDS)


def _retry(failures: int, longest: float | None = None) -> Decision:
    pauses = Backoff(FIRST_PAUSE_SECONDS, longest or LONGEST_PAUSE_SECONDS)
    return Decision(Action.RETRY, pauses.nth_pause(failures))
