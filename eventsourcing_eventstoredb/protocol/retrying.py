"""Trying again: for how long, with which pauses, over which connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from eventsourcing.persistence import OperationalError

from eventsourcing_eventstoredb.backoff import Backoff, keep_trying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import (
    CallError,
    Reason,
    client_errors,
    reason_of,
)
from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.protocol.questions import Question

T = TypeVar("T")

# Seconds after a first failure for which to try again: the election of a leader
# or the restart of a server fits in, and callers are not held up for long.
PATIENCE = 3.0

# Seconds for one read with its retries. A frozen server must not hold a thread
# for ever, and the longest stream has to fit in.
READ_DEADLINE = 60.0

_TURN_SECONDS = 0.05


def with_retries(
    client: EventStoreDBClient,
    attempt: Callable[[float], T],
    seconds: float,
    *,
    reopens: bool = False,
) -> T:
    """
    Call *attempt* until it succeeds, fails for good, or the time is over.

    Args:
        client: Whose connection is replaced where that can help.
        attempt: Gets the seconds that it may take.
        seconds: How long all attempts may take. After a first failure there are
            new ones for :data:`PATIENCE` seconds only.
        reopens: Whether a client that was closed before is connected again, as
            esdbclient does for appends. A read must not do that: it would not
            notice that it was cut short.

    Raises:
        OperationalError: The last attempt's, when the time is over or the
            client was closed.
    """
    attempts = _Attempts(client, attempt, seconds, reopens)
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
    ) -> None:
        self._client = client
        self._connector = connector_of(client)
        self._attempt = attempt
        self._last = self._end = time.monotonic() + seconds
        self._reopens = reopens
        self._backoff = Backoff(longest=1.0)
        self._connection: Connection | None = None
        self._cause: BaseException | None = None

    def begin(self) -> Any:
        self._connection = None
        with gate.inside():
            self._connection = connected(self._client)
            return self._attempt(max(self._end - time.monotonic(), 0.001))

    def pause_after(self, error: Exception) -> float | None:
        if not isinstance(error, OperationalError):
            return None
        if self._reopens and reason_of(error) is Reason.CLOSED:
            self._reopens = False
            self._connector.reopen()
            return 0.0
        self._cause = error.__cause__
        pause = self._backoff.next_pause()
        self._last = min(self._last, time.monotonic() + PATIENCE)
        if self._connector.is_closed or time.monotonic() + pause >= self._last:
            return None
        return pause

    def wait(self, pause: float) -> bool:
        wait_for_connection(self._client, pause)
        renew_connection(self._client, self._connection, self._cause)
        return True


def connected(client: EventStoreDBClient) -> Connection:
    """
    Return the connection to use for the client, which is opened first if need be.

    Raises:
        OperationalError: The client was closed, or no node of the cluster can be used.
    """
    with client_errors("Connecting"):
        return connector_of(client).connection()


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
) -> None:
    """
    Wait so long, and let a broken connection be made again meanwhile.

    gRPC works on a connection while a call waits for it. One that does not wait
    fails at once over a broken one instead; and with no call waiting gRPC looks
    after it every five seconds, so that a server that is back would not be found
    for up to ten.

    Returns at once if the client is closed, and soon if *is_needless* says so.
    """
    end = time.monotonic() + seconds
    is_connected = False
    while (remaining := end - time.monotonic()) > 0:
        if is_closed(client) or is_needless():
            return
        if not is_connected:
            is_connected = _answers(client, remaining, is_needless)
        remaining = min(end - time.monotonic(), _TURN_SECONDS)
        if remaining > 0:
            time.sleep(remaining)


def _answers(
    client: EventStoreDBClient, seconds: float, is_needless: Callable[[], bool]
) -> bool:
    """Wait so long for a server that answers, whatever it says."""
    question = Question()
    with gate.inside(question):
        try:
            question.ask(connected(client), seconds, waits=True)
            while (answer := question.is_answered(_TURN_SECONDS)) is None:
                if is_needless():
                    question.leave_grpc()
                    return False
            return answer
        except (OperationalError, ValueError):
            # There is no member of the cluster, or the channel is closed.
            return False


def renew_connection(
    client: EventStoreDBClient, failed: Connection | None, cause: BaseException | None
) -> None:
    """
    Look for another node of the cluster, where there is a cluster.

    A channel to one host connects again by itself. Closing it instead would
    break off what other threads do over it.

    Args:
        client: The client to renew the connection of.
        failed: The connection that failed. If the client has another one by
            now, that one is left alone.
        cause: Why it failed.
    """
    connector = connector_of(client)
    if failed is None or not connector.access.is_cluster or connector.is_closed:
        return
    leader = cause.leader if isinstance(cause, CallError) else None
    try:
        connector.replace(failed, leader)
    except CallError:
        # The next attempt goes over the old connection and says what is wrong.
        return
