"""Trying again: for how long, with which pauses, over which connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from esdbclient import EventStoreDBClient
from esdbclient.exceptions import EventStoreDBClientException, NodeIsNotLeader
from eventsourcing.persistence import OperationalError

from eventsourcing_eventstoredb.backoff import Backoff
from eventsourcing_eventstoredb.protocol.errors import client_errors
from eventsourcing_eventstoredb.protocol.forking import gate

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
        client: Whose connection is made anew where that can help.
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
    last = end = time.monotonic() + seconds
    backoff = Backoff(longest=1.0)
    while True:
        connection = None
        try:
            with gate.inside():
                connection = connected(client)
                return attempt(max(end - time.monotonic(), 0.001))
        except OperationalError as error:
            # What gRPC raises for a channel that is closed.
            if reopens and isinstance(error.__cause__, ValueError):
                reopens = False
                with gate.inside(), client_errors("Connecting again"):
                    client.reconnect()
                continue
            pause = backoff.next_pause()
            last = min(last, time.monotonic() + PATIENCE)
            if client.is_closed or time.monotonic() + pause >= last:
                raise
            wait_for_connection(client, pause)
            renew_connection(client, connection, error.__cause__)


def connected(client: EventStoreDBClient) -> Any:
    """
    Return the client's connection, which after a fork is made first.

    Raises:
        OperationalError: No member of the cluster answered.
    """
    with client_errors("Connecting"):
        return client._connection


def wait_for_connection(
    client: EventStoreDBClient,
    seconds: float,
    is_needless: Callable[[], bool] = lambda: False,
) -> None:
    """
    Wait so long, and let a broken connection be made again meanwhile.

    gRPC works on a connection while somebody waits for it. A call over a broken one
    fails at once instead; and with nobody waiting gRPC looks after it every five
    seconds, so that a server that is back would not be found for up to ten.

    Returns at once if the client is closed, and soon if *is_needless* says so.
    """
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        if client.is_closed or is_needless():
            return
        turn = min(remaining, _TURN_SECONDS)
        try:
            # In turns: a fork waits for who is inside, and nothing wakes this.
            with gate.inside():
                channel = connected(client)._grpc_channel._channel
                state = channel.check_connectivity_state(True)
                channel.watch_connectivity_state(state, time.time() + turn)
        except (OperationalError, ValueError):
            # There is no member of the cluster, or the channel is closed.
            time.sleep(turn)


def is_cluster(client: EventStoreDBClient) -> bool:
    """Tell whether the client looks for one of several nodes."""
    spec = client.connection_spec
    return spec.scheme != "esdb" or len(spec.targets) > 1


def renew_connection(
    client: EventStoreDBClient, failed: object, cause: BaseException | None
) -> None:
    """
    Look for another node of the cluster, where there is a cluster.

    A channel to one host connects again by itself. Closing it instead would
    break off what other threads do over it.

    Args:
        client: The client to renew the connection of.
        failed: The connection that failed. If the client has another one by
            now, that one is left alone.
        cause: What the client raised.
    """
    if not is_cluster(client) or client.is_closed:
        return
    target = cause.leader_grpc_target if isinstance(cause, NodeIsNotLeader) else None
    try:
        with gate.inside():
            if client._connection is failed:
                client.reconnect(target)
    except EventStoreDBClientException:
        # The next attempt goes over the old connection and says what is wrong.
        return
