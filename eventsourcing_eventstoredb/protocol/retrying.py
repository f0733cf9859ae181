"""Trying again: for how long, with which pauses, over which connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from eventsourcing.persistence import OperationalError

from eventsourcing_eventstoredb.backoff import Backoff, keep_trying
from eventsourcing_eventstoredb.deadlines import seconds_left
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.connectors import Connector
from eventsourcing_eventstoredb.protocol.errors import (
    CallError,
    Reason,
    client_errors,
    reason_of,
)
from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.protocol.questions import Question

T = TypeVar("T")

# Seconds after a first failure for which to try again: the restart of a server fits in,
# and callers are not held up for long.
PATIENCE = 3.0

# The same in a cluster, where an election fits in: it takes longer on a busy machine.
CLUSTER_PATIENCE = 10.0

# So often nodes of a cluster may refuse a position before that is taken for an answer:
# one that has lost its leader, and one that was asked for what only a leader can do,
# says the same as one that does not know the position.
_POSITION_REFUSALS = 3

# Seconds for one read with its retries. A frozen server must not hold a thread
# for ever, and the longest stream has to fit in.
READ_DEADLINE = 60.0

# Seconds for one attempt to save in a cluster: then another node may be the leader.
SAVE_ATTEMPT = 3.0

_TURN_SECONDS = 0.05
# A server that answers may not be ready for all that is asked.
_SHORTEST_PAUSE = 0.5


def with_retries(
    client: EventStoreDBClient,
    attempt: Callable[[float], T],
    seconds: float,
    *,
    reopens: bool = False,
    from_leader: bool = False,
    each: float | None = None,
) -> T:
    """
    Call *attempt* until it succeeds, fails for good, or the time is over.

    Args:
        client: Whose connection is replaced where that can help.
        attempt: Gets the seconds that it may take.
        seconds: How long all attempts may take. After a first failure there are
            new ones for :data:`PATIENCE` seconds only, in a cluster
            :data:`CLUSTER_PATIENCE`. A ``store_deadline`` that is over sooner counts.
        reopens: Whether a client that was closed before is connected again, as
            esdbclient does for appends. A read must not do that: it would not
            notice that it was cut short.
        from_leader: Whether the attempts use the connection to the leader.
        each: How long one attempt may take in a cluster; None for the whole time.

    Raises:
        OperationalError: The last attempt's, when the time is over or the
            client was closed.
    """
    attempts = _Attempts(client, attempt, seconds, reopens, from_leader, each)
    # Waiting never ends it.
    return cast("T", keep_trying(attempts.begin, attempts.pause_after, attempts.wait))


class _Attempts:
    """What is done again and again until it succeeds."""

    def __init__(
        self,
        client: EventStoreDBClient,
        attempt: Callable[[float], Any],
        seconds: float,
        reopens: bool,
        from_leader: bool,
        each: float | None,
    ) -> None:
        connector = connector_of(client)
        self._connector = connector.for_leader if from_leader else connector
        self._is_cluster = connector.access.is_cluster
        self._attempt = attempt
        self._last = self._end = time.monotonic() + seconds_left(seconds)
        self._each = each if self._is_cluster else None
        self._reopens = reopens
        # Most never need it.
        self._backoff: Backoff | None = None
        self._connection: Connection | None = None
        self._cause: BaseException | None = None
        self._not_found: CallError | None = None
        self._position_refusals = 0

    def begin(self) -> Any:
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise _too_late(self._not_found or self._cause)
        if self._each is not None:
            remaining = min(remaining, self._each)
        with gate.inside():
            with client_errors("Connecting"):
                if self._not_found is not None:
                    # What it would say over the old connection is no news; that one
                    # stays the one to replace.
                    raise self._not_found
                self._connection = None
                self._connection = self._connector.connection(remaining)
            result = self._attempt(remaining)
        self._connector.outage.succeeded()
        return result

    def pause_after(self, error: Exception) -> float | None:
        if not isinstance(error, OperationalError) and not self._is_doubtful(error):
            return None
        if self._reopens and reason_of(error) is Reason.CLOSED:
            self._reopens = False
            self._connector.reopen()
            return 0.0
        if not self._connector.is_closed:
            self._connector.outage.failed(error)
        self._cause = error.__cause__
        if self._backoff is None:
            self._backoff = Backoff(longest=1.0)
        pause = self._backoff.next_pause()
        patience = CLUSTER_PATIENCE if self._is_cluster else PATIENCE
        self._last = min(self._last, time.monotonic() + patience)
        left = self._last - time.monotonic()
        if self._connector.is_closed or left <= 0:
            return None
        if pause < left:
            return pause
        # The last attempt is at the end of the patience, and not up to a second before:
        # gRPC pauses for more than two seconds between attempts to connect.
        has_time = self._last < self._end and not self._is_cluster
        return left if has_time else None

    def _is_doubtful(self, error: Exception) -> bool:
        """Tell whether another node may take a position that one has refused."""
        if not self._is_cluster or reason_of(error) is not Reason.POSITION:
            return False
        self._position_refusals += 1
        return self._position_refusals < _POSITION_REFUSALS

    def wait(self, pause: float) -> bool:
        connector = self._connector
        if not self._is_cluster:
            wait_until_connected(connector, pause)
            return True
        time.sleep(pause)
        left = self._last - time.monotonic()
        self._not_found = find_anew(connector, self._connection, self._cause, left)
        return True


def _too_late(cause: BaseException | None) -> OperationalError:
    said = f"; before that: {cause}" if isinstance(cause, CallError) else ""
    failure = CallError(Reason.DEADLINE, f"the time for this work is over{said}")
    error = OperationalError(f"Asking EventStoreDB: {failure}")
    error.__cause__ = failure
    return error


def connected(client: EventStoreDBClient) -> Connection:
    """
    Return the connection to use for the client, which is opened first if need be.

    Raises:
        OperationalError: The client was closed, or no node of the cluster can be used.
    """
    with client_errors("Connecting"):
        return connector_of(client).connection(seconds_left(CLUSTER_PATIENCE))


def is_closed(client: EventStoreDBClient) -> bool:
    """Tell whether the client was closed, and not connected again since."""
    return connector_of(client).is_closed


def is_cluster(client: EventStoreDBClient) -> bool:
    """Tell whether the client looks for one of several nodes."""
    return connector_of(client).access.is_cluster


def wait_for_connection(
    client: EventStoreDBClient,
    seconds: float,
    is_needless: Callable[[], bool] = lambda: False,
) -> bool:
    """
    Wait for a server that answers, so long at most; return whether one does.

    Where a cluster has no node to connect to, one is looked for. Returns at once if the
    client is closed, and soon if *is_needless* says so.
    """
    return wait_until_connected(connector_of(client), seconds, is_needless)


def wait_until_connected(
    connector: Connector,
    seconds: float,
    is_needless: Callable[[], bool] = lambda: False,
) -> bool:
    """
    Wait so long, and let a broken connection be made again meanwhile.

    gRPC works on a connection while a call waits for it. One that does not wait
    fails at once over a broken one instead; and with no call waiting gRPC looks
    after it every five seconds, so that a server that is back would not be found
    for up to ten.

    Returns early if the connection works, at once if this is closed, and soon if
    *is_needless* says so.
    """
    began = time.monotonic()
    end = began + seconds
    is_connected = False
    while (remaining := end - time.monotonic()) > 0:
        if connector.is_closed or is_needless():
            break
        if not is_connected:
            is_connected = _answers(connector, remaining, is_needless)
        if is_connected and time.monotonic() - began >= _SHORTEST_PAUSE:
            break
        remaining = min(end - time.monotonic(), _TURN_SECONDS)
        if remaining > 0:
            time.sleep(remaining)
    return is_connected


def _answers(
    connector: Connector, seconds: float, is_needless: Callable[[], bool]
) -> bool:
    """Wait so long for a server that answers, whatever it says."""
    question = Question()
    with gate.inside(question):
        try:
            question.ask(connector.connection(seconds), seconds, waits=True)
            while (answer := question.is_answered(_TURN_SECONDS)) is None:
                if is_needless():
                    question.leave_grpc()
                    return False
            return answer
        except (CallError, ValueError):
            # There is no member of the cluster, or the channel is closed.
            return False


def find_anew(
    connector: Connector,
    failed: Connection | None,
    cause: BaseException | None,
    seconds: float | None = None,
) -> CallError | None:
    """
    Look for another node of the cluster, where there is a cluster.

    A channel to one host connects again by itself. Closing it instead would
    break off what other threads do over it.

    Args:
        connector: Has the connection.
        failed: The connection that failed. If there is another one by
            now, that one is left alone.
        cause: Why it failed.
        seconds: How long to wait for a node; None for no limit.

    Returns:
        Why there is none.
    """
    if not connector.access.is_cluster or connector.is_closed:
        return None
    leader = cause.leader if isinstance(cause, CallError) else None
    if connector.access.node_preference != "leader":
        leader = None
    try:
        connector.replace(failed, leader, seconds)
    except CallError as error:
        return error
    return None
