"""
Calls to EventStoreDB: reads that are whole or fail, and appends.

The client's own iterators make an object with a dozen fields of each event, and
end quietly when the client is closed. Here messages come as the server sent
them, and only a read that the server has finished ends without an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

import grpc

from eventsourcing_eventstoredb.protocol import messages, private
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import (
    CallError,
    Reason,
    call_error,
    position_error,
)
from eventsourcing_eventstoredb.protocol.generated import streams
from eventsourcing_eventstoredb.protocol.proposals import (
    Appended,
    ProposedEvent,
    StreamState,
)
from eventsourcing_eventstoredb.protocol.questions import Question
from eventsourcing_eventstoredb.protocol.watching import (
    GRACE_SECONDS,
    Watch,
    watcher,
)

# Seconds in which a node of a cluster has to begin its answer to a read, or to say that
# it is there: a search through all streams may take longer.
FIRST_ANSWER = 3.0
_QUESTION = 1.0


def start_read(
    connection: Connection, request: streams.ReadReq, timeout: float | None = None
) -> Any:
    """
    Send a request and return the call, an iterator of messages.

    Args:
        connection: Where to.
        request: What to read.
        timeout: Seconds that the whole call may take; None for no limit.
    """
    return connection.streams.Read(request, **connection.arguments(timeout))


def read_messages(
    client: EventStoreDBClient,
    request: streams.ReadReq,
    timeout: float | None = None,
    *,
    connection: Connection | None = None,
    from_leader: bool = False,
) -> Iterator[streams.ReadResp]:
    """
    Yield a read's messages in the server's order, to the last one or to an error.

    Closing the iterator ends the call.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        request: What to read.
        timeout: Seconds that the whole call may take; None for no limit.
        connection: What to read over; None for the client's.
        from_leader: Whether to read over the client's connection to the leader.

    Raises:
        CallError: The read failed or was cut short. Where it was to begin at a position
            in the log and failed before the first message, that may be the reason.
    """
    process_id = os.getpid()
    if connection is None:
        connection = connection_of(client, timeout, from_leader=from_leader)
    longest = math.inf if timeout is None else timeout + GRACE_SECONDS
    end = monotonic() + longest
    call = start_read(connection, request, timeout)
    watch = _watch_first_answer(call, connection, longest)
    at_position = request.options.all.HasField("position")
    try:
        for message in call:
            at_position = False
            watch.look = None
            watch.due = end
            yield message
            break
        yield from private.messages(call)
    except grpc.RpcError as error:
        raise _failure(watch, error, at_position) from error
    finally:
        # In a forked child nothing would ever come of the parent's call.
        if process_id == os.getpid():
            end_call(call)
        watcher.end(watch)


def messages_of(call: Any) -> Iterator[streams.ReadResp]:
    """
    Iterate over what is left of a call's messages.

    Raises:
        grpc.RpcError: The call failed, or was cancelled.
    """
    return private.messages(call)


def take_confirmation(
    call: Any, connection: Connection, seconds: float, *, at_position: bool
) -> None:
    """
    Take a subscription's first message, which confirms it.

    Args:
        call: An iterator of messages.
        connection: What it goes over.
        seconds: In which a server has to confirm it; one of a cluster that does not
            answer otherwise either, in :data:`FIRST_ANSWER`.
        at_position: Whether it begins at a position in the log.

    Raises:
        CallError: It was not confirmed; the position may be the reason.
    """
    watch = _watch_first_answer(call, connection, seconds)
    try:
        next(call)
    except StopIteration:
        raise CallError(Reason.UNAVAILABLE, "the server ended the call") from None
    except grpc.RpcError as error:
        raise _failure(watch, error, at_position) from error
    finally:
        watcher.end(watch)


def _watch_first_answer(call: Any, connection: Connection, longest: float) -> Watch:
    """
    Break off a call that has no answer in time.

    In a cluster that is :data:`FIRST_ANSWER`, unless the server answers otherwise.

    Args:
        call: An iterator of messages.
        connection: What it goes over.
        longest: In which the call has to be answered by a server that is only slow.

    Returns:
        The watch, which the caller ends.
    """
    if not connection.is_of_cluster or longest <= FIRST_ANSWER:
        return watcher.begin(call, connection, longest)
    question = Question()
    end = monotonic() + longest
    is_asked = False

    def look() -> float | None:
        nonlocal is_asked
        if is_asked:
            left = end - monotonic()
            return left if question.is_answered(0) and left > 0 else None
        is_asked = True
        question.ask(connection, _QUESTION)
        return _QUESTION

    return watcher.begin(call, connection, FIRST_ANSWER - _QUESTION, look)


def _failure(
    watch: Watch, error: grpc.RpcError, at_position: bool = False
) -> CallError:
    """Return why a call failed that may have been broken off for being late."""
    if watch.is_late:
        return CallError(Reason.DEADLINE, "the call was broken off")
    failure = call_error(error)
    return position_error(failure) if at_position else failure


def connection_of(
    client: EventStoreDBClient, timeout: float | None, *, from_leader: bool = False
) -> Connection:
    """
    Return the client's connection, or the one for its saves.

    Raises:
        CallError: The client was closed, or no node of the cluster can be used.
    """
    connector = connector_of(client)
    return (connector.for_leader if from_leader else connector).connection(timeout)


def end_call(call: Any) -> None:
    """
    Break off a call, and have gRPC forget it.

    Only for the thread that iterates over the call.
    """
    call.cancel()
    private.take_the_last(call)


def read_last(
    client: EventStoreDBClient,
    timeout: float | None,
    connection: Connection | None = None,
) -> Any:
    """
    Return the last event in the store, whosever it is; None if it is empty.

    Raises:
        CallError: The read failed or was cut short.
    """
    request = messages.all_request(None, backwards=True, limit=1)
    recorded = None
    for message in read_messages(client, request, timeout, connection=connection):
        if message.WhichOneof("content") == "event":
            recorded = message.event.event
    return recorded


def read_at(
    client: EventStoreDBClient,
    position: int,
    timeout: float | None,
    connection: Connection | None = None,
) -> Any:
    """
    Return the event at a position, whosever it is; None if none is there.

    Raises:
        CallError: The read failed or was cut short, or the server refuses the position.
    """
    request = messages.all_request(position, backwards=False, limit=1)
    for message in read_messages(client, request, timeout, connection=connection):
        if message.WhichOneof("content") == "event":
            recorded = message.event.event
            return recorded if recorded.commit_position == position else None
    return None


def append_batch(
    connection: Connection, request: streams.BatchAppendReq, seconds: float
) -> streams.BatchAppendResp:
    """
    Append a batch by a call of its own, and return the answer.

    Args:
        connection: Where to.
        request: The whole batch. It gets another correlation ID.
        seconds: How long the call may take.

    Raises:
        CallError: There is no answer. The batch may have been appended.
    """
    request.correlation_id.string = str(uuid4())
    call = connection.streams.BatchAppend(
        iter([request]), **connection.arguments(seconds, requires_leader=True)
    )
    watch = watcher.begin(call, connection, seconds + GRACE_SECONDS)
    try:
        answer: streams.BatchAppendResp
        for answer in call:
            return answer
    except grpc.RpcError as error:
        raise _failure(watch, error) from error
    finally:
        watcher.end(watch)
        # The server may have left it open.
        call.cancel()
    raise CallError(Reason.UNAVAILABLE, "the server ended the call without an answer")


def append(
    connection: Connection,
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
    seconds: float,
) -> Appended:
    """
    Append events to a stream by ``Append``, which knows no batches.

    Args:
        connection: Where to.
        name: The stream's name.
        current_version: Position of the last event that must be there, or a state.
        events: At least one.
        seconds: How long the call may take.

    Raises:
        CallError: They were not appended; or, if it says so that there was no answer,
            they may have been.
    """
    requests = messages.single_append_requests(name, current_version, events)
    call = connection.streams.Append.future(
        iter(requests), **connection.arguments(seconds, requires_leader=True)
    )
    watch = watcher.begin(call, connection, seconds + GRACE_SECONDS)
    try:
        return messages.appended_alone(call.result())
    except grpc.FutureCancelledError:
        raise CallError(Reason.DEADLINE, "the call was broken off") from None
    except grpc.RpcError as error:
        raise _failure(watch, error) from error
    finally:
        watcher.end(watch)
