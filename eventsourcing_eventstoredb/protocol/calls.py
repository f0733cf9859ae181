"""
Calls to EventStoreDB: reads that are whole or fail, and appends.

The client's own iterators make an object with a dozen fields of each event, and
end quietly when the client is closed. Here messages come as the server sent
them, and only a read that the server has finished ends without an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from eventsourcing_eventstoredb.protocol import messages, private
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, call_error
from eventsourcing_eventstoredb.protocol.generated import streams
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent, StreamState


def start_read(
    client: EventStoreDBClient,
    request: streams.ReadReq,
    timeout: float | None = None,
) -> Any:
    """
    Send a request and return the call, an iterator of messages.

    Args:
        client: Any esdbclient client.
        request: What to read.
        timeout: Seconds that the whole call may take; None for no limit.

    Raises:
        CallError: The client was closed, or no node of the cluster can be used.
    """
    connection = connector_of(client).connection()
    return connection.streams.Read(request, **connection.arguments(timeout))


def read_messages(
    client: EventStoreDBClient,
    request: streams.ReadReq,
    timeout: float | None = None,
) -> Iterator[streams.ReadResp]:
    """
    Yield a read's messages in the server's order, to the last one or to an error.

    Closing the iterator ends the call.

    Raises:
        CallError: The read failed or was cut short.
    """
    process_id = os.getpid()
    call = start_read(client, request, timeout)
    try:
        yield from call
    except grpc.RpcError as error:
        raise call_error(error) from error
    finally:
        # In a forked child nothing would ever come of the parent's call.
        if process_id == os.getpid():
            end_call(call)


def end_call(call: Any) -> None:
    """
    Break off a call, and have gRPC forget it.

    Only for the thread that iterates over the call.
    """
    call.cancel()
    private.take_the_last(call)


def read_head(client: EventStoreDBClient, timeout: float | None) -> int | None:
    """
    Return the position of the last event in the store, None if it is empty.

    Raises:
        CallError: The read failed or was cut short.
    """
    request = messages.all_request(None, backwards=True, limit=1)
    position = None
    for message in read_messages(client, request, timeout):
        if message.WhichOneof("content") == "event":
            position = int(message.event.event.commit_position)
    return position


def append(
    client: EventStoreDBClient,
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
    seconds: float,
) -> int:
    """
    Append events to a stream in one transaction, and return the last one's position.

    Args:
        client: Any esdbclient client.
        name: The stream's name.
        current_version: Position of the last event that must be there, or a state.
        events: At least one.
        seconds: How long the call may take.

    Raises:
        CallError: They were not appended; or, if it says so that there was no answer,
            they may have been.
    """
    request = messages.append_request(name, current_version, events, seconds)
    connection = connector_of(client).connection()
    call = connection.streams.BatchAppend(
        iter([request]), **connection.arguments(seconds, requires_leader=True)
    )
    try:
        for answer in call:
            return messages.appended_position(answer)
    except grpc.RpcError as error:
        raise call_error(error) from error
    finally:
        # The server may have left it open.
        call.cancel()
    raise CallError(Reason.UNAVAILABLE, "the server ended the call without an answer")
