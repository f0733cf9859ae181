"""
Appending in the best way that the server has.

All threads of a process append over one long call for each connection. What is large,
or might be what has broken that call, gets a call of its own. Servers that know no
batches, and proxies that do not let a call's answers through while it is open, get
``Append``; that is found out once, by the first save.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic

from eventsourcing.persistence import OperationalError

from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.protocol import calls, messages
from eventsourcing_eventstoredb.protocol.batching import (
    Batch,
    BatchCall,
    CallOverError,
    batch_call,
)
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.connectors import Connector
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.protocol.generated import streams
from eventsourcing_eventstoredb.protocol.proposals import (
    Appended,
    ProposedEvent,
    StreamState,
)

logger = logging.getLogger("eventsourcing_eventstoredb")

# Bytes from which a save has a call of its own: others do not wait until it is sent,
# and one that is more than the server takes breaks no call of others.
LARGE_BYTES = 512 * 1024

# Seconds in which the first batch of all has to be answered, before the same is tried
# without batches.
FIRST_BATCH_SECONDS = 3.0

# Seconds in which a call that works answers what the server has written by then.
PROOF_SECONDS = 0.5

# Position of an event that no stream has.
_BEYOND = 2**63 - 2

# What a call without batches may have another answer to.
_MAYBE_NO_BATCHES = (Reason.REFUSED, Reason.INTERNAL, Reason.UNKNOWN)


def append(
    client: EventStoreDBClient,
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
    seconds: float,
) -> Appended:
    """
    Append events to a stream in one transaction.

    Args:
        client: Any esdbclient client.
        name: The stream's name.
        current_version: Position of the last event that must be there, or a state.
        events: At least one.
        seconds: How long it may take.

    Returns:
        Where the last one lies.

    Raises:
        CallError: They were not appended; or, if it says so that there was no answer,
            they may have been.
    """
    end = monotonic() + seconds
    connector = connector_of(client).for_leader
    connection = connector.connection(seconds)
    takes_batches = connector.takes_batches
    if takes_batches is not False:
        request = messages.append_request(name, current_version, events, seconds)
        is_large = request.ByteSize() >= LARGE_BYTES
        if takes_batches and is_large:
            return messages.appended(calls.append_batch(connection, request, seconds))
        if takes_batches:
            return messages.appended(_append_batch(connection, request, end))
        if not is_large:
            first = _FirstBatch(connector, connection, request, end)
            return first.append(name, current_version, events)
    return calls.append(connection, name, current_version, events, seconds)


def has_saved(client: EventStoreDBClient) -> bool:
    """Tell whether a save of this client was answered, whatever the answer was."""
    return connector_of(client).for_leader.takes_batches is not None


def last_position(client: EventStoreDBClient, name: str, seconds: float) -> int | None:
    """
    Return where a stream ends that appends would continue, None if it has no events.

    A stream that was deleted still ends where it ended. The question goes the way of
    the saves: it is an append of nothing, behind an event that no stream has, which is
    always refused, so that nothing is written.

    Args:
        client: Any esdbclient client.
        name: The stream's name.
        seconds: How long it may take.

    Raises:
        CallError: There is no answer, or the stream is tombstoned.
    """
    try:
        append(client, name, _BEYOND, (), seconds)
    except CallError as error:
        if error.reason is not Reason.WRONG_VERSION:
            raise
        return error.last_position
    return None


def _append_batch(
    connection: Connection, request: streams.BatchAppendReq, end: float
) -> streams.BatchAppendResp:
    """Append over the long call; *end* is by the monotonic clock."""
    call, batch = _begin(connection, request, end)
    try:
        return call.result(batch, end - monotonic())
    except CallError as error:
        left = end - monotonic()
        if left <= 0 or call.lost <= 1 or _may_pass(error):
            raise
    # It may have been another one that has broken the call: each gets an answer of its
    # own, by a call of its own.
    return calls.append_batch(connection, request, left)


def _begin(
    connection: Connection, request: streams.BatchAppendReq, end: float
) -> tuple[BatchCall, Batch]:
    while True:
        call = batch_call(connection)
        try:
            return call, call.begin(request, end - monotonic())
        except CallOverError as error:
            # Another one is opened for what comes when a call has just ended.
            if monotonic() >= end:
                msg = "each call ended before it was used"
                raise CallError(Reason.DEADLINE, msg) from error


def _may_pass(error: CallError) -> bool:
    return issubclass(error.reason.raised, OperationalError)


class _FirstBatch:
    """
    A save while it is not known whether batches are answered.

    Args:
        connector: What is to know it.
        connection: Where to.
        request: The batch.
        end: When the time is over, by the monotonic clock.
    """

    def __init__(
        self,
        connector: Connector,
        connection: Connection,
        request: streams.BatchAppendReq,
        end: float,
    ) -> None:
        self._connector = connector
        self._connection = connection
        self._end = end
        self._call, self._batch = _begin(connection, request, end)

    def append(
        self,
        name: str,
        current_version: int | StreamState,
        events: Sequence[ProposedEvent],
    ) -> Appended:
        """Append with a batch, or else without one."""
        try:
            refusal = self._wait(min(self._left() / 2, FIRST_BATCH_SECONDS))
            if refusal is None:
                assert self._batch.answer is not None
                return messages.appended(self._batch.answer)
            if self._left() <= 0:
                raise refusal
            appended = calls.append(
                self._connection, name, current_version, events, self._left()
            )
            if refusal.reason is Reason.DEADLINE:
                refusal = self._wait(min(self._left(), PROOF_SECONDS))
            self._note(refusal)
            return appended
        finally:
            self._call.give_up(self._batch)

    def _left(self) -> float:
        return self._end - monotonic()

    def _wait(self, seconds: float) -> CallError | None:
        """Wait for the answer; return why there is none, if batches may be why."""
        try:
            is_answered = self._call.wait(self._batch, seconds)
        except CallError as error:
            if error.reason not in _MAYBE_NO_BATCHES:
                raise
            return error
        if not is_answered:
            return CallError(Reason.DEADLINE, "a batch is not answered")
        self._connector.takes_batches = True
        return None

    def _note(self, refusal: CallError | None) -> None:
        """Note that a save went without a batch, which was refused or not answered."""
        if refusal is None or self._connector.takes_batches is not None:
            # The server was slow, no more.
            return
        if refusal.reason is Reason.DEADLINE and self._left() <= 0:
            # There was no time to tell.
            return
        self._connector.takes_batches = False
        log(
            logger,
            logging.WARNING,
            "EventStoreDB gets a call for each save, since BatchAppend does not work",
            server=self._connection.target,
            reason=str(refusal),
        )
