"""The thread that receives a subscription's events, and resumes when it must."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from eventsourcing.persistence import (
    Notification,
    OperationalError,
    PersistenceError,
)

from eventsourcing_eventstoredb.backoff import Backoff, keep_trying
from eventsourcing_eventstoredb.deadlines import seconds_left
from eventsourcing_eventstoredb.exceptions import (
    NodeBehindError,
    ReplacedStoreError,
    UnknownPositionError,
)
from eventsourcing_eventstoredb.protocol import calls
from eventsourcing_eventstoredb.protocol.clients import connector_of
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import Reason, client_errors, reason_of
from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.protocol.retrying import (
    CLUSTER_PATIENCE,
    connected,
    find_anew,
    is_closed,
    is_cluster,
    wait_for_connection,
    with_retries,
)
from eventsourcing_eventstoredb.protocol.watching import GRACE_SECONDS, watcher
from eventsourcing_eventstoredb.streams.all_stream import AllStream
from eventsourcing_eventstoredb.subscriptions.lagging import Refusals, lagging
from eventsourcing_eventstoredb.subscriptions.read_ahead import ReadAhead
from eventsourcing_eventstoredb.subscriptions.state import Phase, StateCell

# What the server says when something in it went wrong. Before a subscription is
# confirmed for the first time it is an answer; later, resuming may help.
_SERVER_FAILURES = (Reason.POSITION, Reason.INTERNAL)

# What says of a subscription that has begun that it cannot begin again where it was.
_POSITION_REFUSALS = (Reason.POSITION, Reason.INVALID_ARGUMENT)

# Seconds between attempts in a cluster, where another node may be there at once.
_LONGEST_CLUSTER_PAUSE = 1.0


class Receiver:
    """
    Receives what lies after a position, again and again from the last one.

    Args:
        log: Where to read.
        after: Position of the last event that is not wanted; None for none.
        ahead: Takes the notifications.
        state: Gets told what this is at.
        answer_within: Seconds in which the server has to answer a question.
    """

    def __init__(
        self,
        log: AllStream,
        after: int | None,
        ahead: ReadAhead[Notification],
        state: StateCell,
        answer_within: float,
    ) -> None:
        self._log = log
        self._after = after
        self._passed_over = after
        # An event of the store that was subscribed to, to know it again.
        self._known: Any = None
        # Whether a node that answers refuses to read there.
        self._is_nothing_there = False
        self._ahead = ahead
        self._state = state
        self._answer_within = answer_within
        self._backoff = Backoff()
        self._stopped = threading.Event()
        self._call_lock = threading.Lock()
        self._call: Any = None
        # The same, until this thread has ended it, though another one dropped it.
        self._unended: Any = None
        # What it goes over, and who sees to it that it ends.
        self._over: Connection | None = None
        self._ending: Any = None
        # What the last attempt went over, and why it failed.
        self._connection: Any = None
        self._cause: BaseException | None = None
        self._head: int | None = None
        self._is_resuming = False
        self._refusals = Refusals()
        self.message_count = 0

    @property
    def position(self) -> int | None:
        """Up to where all was received or passed over."""
        after, passed_over = self._after, self._passed_over
        if after is None or passed_over is None:
            return passed_over if after is None else after
        return max(after, passed_over)

    def save_checkpoint(self, position: int) -> None:
        """Note that nothing is left to receive up to the event at *position*."""
        self._passed_over = position

    def begin(self) -> None:
        """
        Subscribe for the first time, and wait for the server to confirm it.

        In a cluster that is tried again, on another node if need be.

        Raises:
            UnknownPositionError: The store does not have the position.
            NodeBehindError: The nodes that can be used have yet to reach it.
            ProgrammingError: The server refuses, and would again.
            OperationalError: The server could not be asked.
        """
        client = self._log.client

        def attempt(seconds: float) -> None:
            try:
                self.connect(connected(client))
            except PersistenceError:
                self.end_call()
                raise

        if is_cluster(client):
            with_retries(client, attempt, CLUSTER_PATIENCE)
            return
        outage = connector_of(client).outage
        try:
            with gate.inside():
                try:
                    attempt(self._answer_within)
                except OperationalError as error:
                    if reason_of(error) is not Reason.CANCELLED or is_closed(client):
                        raise
                    # Its connection was closed, since another call over it hung.
                    attempt(self._answer_within)
        except OperationalError as error:
            if not is_closed(client):
                outage.failed(error)
            raise
        outage.succeeded()

    def connect(self, connection: Connection) -> None:
        """
        Subscribe, and wait for the server to confirm it.

        Raises:
            UnknownPositionError: The store does not have the position.
            ReplacedStoreError: It has another event where one was received.
            ProgrammingError: The server refuses, and would again.
            OperationalError: The server could not be asked.
        """
        after = self.position
        self._is_nothing_there = False
        self.message_count += 1
        if after is not None:
            self._check_position(after, connection)
        with client_errors("Subscribing to all streams"):
            call = self._unended = self._log.subscribe(after, connection)
            with self._call_lock:
                self._call = call
                self._over = connection
                if self._stopped.is_set():
                    call.cancel()
            calls.take_confirmation(
                call,
                connection,
                self._seconds_to_answer(),
                at_position=after is not None,
            )
        self.message_count += 1
        self._state.enter(Phase.CATCHING_UP)

    def _seconds_to_answer(self) -> float:
        return max(seconds_left(self._answer_within), 0.001)

    def _check_position(self, after: int, connection: Connection) -> None:
        """Raise an error if the store, or this node of it, does not reach so far."""
        client = self._log.client
        head = self._head = self._log.head(self._seconds_to_answer(), connection)
        if head is not None and head >= after:
            lagging.caught_up(client)
            self._check_store(after, connection)
            return
        if not is_cluster(client) or lagging.is_lost(client, after):
            raise UnknownPositionError(after, head)
        msg = (
            f"Subscribing to all streams: {connection.target} is at position {head} "
            f"and has yet to reach {after}, up to where all was received"
        )
        raise NodeBehindError(msg)

    def _check_store(self, after: int, connection: Connection) -> None:
        """Raise an error if another event lies where one was seen before."""
        known = self._known
        position = after if known is None else known.commit_position
        self._is_nothing_there = True
        found = self._log.event_at(
            position,
            self._seconds_to_answer(),
            connection,
            what="Subscribing to all streams",
        )
        self._is_nothing_there = False
        if known is None:
            self._known = found
        elif found is not None and found.id != known.id:
            raise ReplacedStoreError(position)

    def run(self) -> None:
        """Receive until stopped or until what cannot be cured by resuming."""
        try:
            keep_trying(self._resume, self._pause_after, self._wait)
        except BaseException as error:
            # Also what is no Exception: else the consumer would wait for ever.
            if not self._stopped.is_set():
                self._fail(error)
        with gate.inside(self):
            self.end_call()

    def stop(self) -> None:
        """End :meth:`run`; may be called from any thread."""
        self._stopped.set()
        self.drop_call()

    def leave_grpc(self) -> None:
        """End the call while the process forks; it is resumed afterwards."""
        self.drop_call()

    def is_outside_grpc(self) -> bool:
        """Tell whether this waits for the consumer."""
        return self._ahead.is_full

    def drop_call(self) -> None:
        """End the call that is under way, from any thread, so that it is resumed."""
        with self._call_lock:
            call, self._call = self._call, None
            connection = self._over
        if call is None:
            return
        call.cancel()
        if connection is not None and call is self._unended:
            # What gRPC does not end even so, closing the channel does.
            self._ending = watcher.begin(call, connection, GRACE_SECONDS, self._longer)

    def end_call(self) -> None:
        """End the call that is under way; only for the thread that receives."""
        self.drop_call()
        call, self._unended = self._unended, None
        if call is not None:
            calls.end_call(call)
        ending, self._ending = self._ending, None
        if ending is not None:
            watcher.end(ending)

    def _longer(self) -> float | None:
        """Give the thread longer while it waits for the consumer."""
        return GRACE_SECONDS if self._ahead.is_full else None

    def receive_from(self, messages: Iterator[Any]) -> None:
        """Take a call's messages until it ends."""
        convert = self._log.event_filter.notification
        put = self._ahead.put
        for message in messages:
            self.message_count += 1
            if message.HasField("event"):
                recorded = message.event.event
                notification = convert(recorded)
                if notification is not None:
                    size = len(notification.state) + len(recorded.custom_metadata)
                    put(notification, size)
                self._after = recorded.commit_position
                self._known = recorded
            elif message.HasField("caught_up"):
                self.caught_up()
            elif message.HasField("fell_behind"):
                self.fell_behind()
            # Whatever else comes, also from newer servers, tells nothing that counts:
            # a checkpoint may lie beyond events that are still to come.

    def _receive(self) -> None:
        call = self._call
        if call is None:
            return
        with client_errors("Subscription to all streams"):
            self.receive_from(calls.messages_of(call))
        msg = "Subscription to all streams: the server ended the call"
        raise OperationalError(msg)

    def caught_up(self) -> None:
        """Note that what comes from now on is new."""
        self._backoff.reset()
        self._state.enter(Phase.LIVE)
        self._ahead.set_live(True)

    def fell_behind(self) -> None:
        """Note that what comes from now on is not new, until it has caught up."""
        self._ahead.set_live(False)
        self._state.enter(Phase.CATCHING_UP)

    def _resume(self) -> None:
        """Receive until stopped or until something fails."""
        self._connection = None
        while not self._stopped.is_set():
            with gate.inside(self):
                connection = self._connection = connected(self._log.client)
                try:
                    if self._call is None:
                        self._is_resuming = True
                        self.connect(connection)
                        connector_of(self._log.client).outage.succeeded()
                    self._receive()
                finally:
                    self.end_call()

    def _pause_after(self, error: Exception) -> float | None:
        """Return the seconds before the next attempt; None if there is none."""
        may_pass = isinstance(error, OperationalError)
        if not may_pass and reason_of(error) not in _SERVER_FAILURES:
            return None
        if self._stopped.is_set() or is_closed(self._log.client):
            return None
        in_cluster = is_cluster(self._log.client)
        if in_cluster and not self._is_nothing_there:
            # A node may refuse to subscribe so while there is no leader.
            self._refusals.forget()
        elif self._refusals.are_final(error, in_cluster=in_cluster):
            return None
        connector_of(self._log.client).outage.failed(error)
        self._cause = error.__cause__
        self._ahead.set_live(False)
        is_behind = isinstance(error, NodeBehindError)
        phase = Phase.STANDING_BY if is_behind else Phase.DISCONNECTED
        self._state.enter(phase, str(error))
        return self._backoff.next_pause()

    def _wait(self, pause: float) -> bool:
        client = self._log.client
        if not is_cluster(client):
            wait_for_connection(client, pause, self._stopped.is_set)
        elif not self._stopped.wait(min(pause, _LONGEST_CLUSTER_PAUSE)):
            find_anew(
                connector_of(client), self._connection, self._cause, CLUSTER_PATIENCE
            )
        return not self._stopped.is_set()

    def _fail(self, error: BaseException) -> None:
        if is_closed(self._log.client) and isinstance(error, PersistenceError):
            failure: BaseException = OperationalError(
                "Subscription to all streams: the client was closed"
            )
            failure.__cause__ = error
        elif (
            self._is_resuming
            and reason_of(error) in _POSITION_REFUSALS
            and (position := self.position) is not None
        ):
            # All else that is asked for was taken before.
            failure = UnknownPositionError(position, self._head)
            failure.__cause__ = error
        else:
            failure = error
        self._state.enter(Phase.FAILED, str(failure))
        self._ahead.fail(failure)
