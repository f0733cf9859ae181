"""
Requests to EventStoreDB's Streams.Read, and reads that are whole or fail.

The client's own iterators make an object with a dozen fields of each event, and
end quietly when the client is closed. Here messages come as the server sent
them, and only a read that the server has finished ends without an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import grpc
from esdbclient import EventStoreDBClient
from esdbclient.common import handle_rpc_error
from esdbclient.exceptions import StreamIsDeleted
from esdbclient.protos.Grpc import shared_pb2, streams_pb2

Options = streams_pb2.ReadReq.Options

# Events that the server looks at before it reports progress: with the client's
# own 30, passing over what does not match takes three times as long.
_WINDOW = 2000
_CHECKPOINT_MULTIPLIER = 5

_EMPTY = shared_pb2.Empty()


def stream_request(
    name: str, position: int | None, *, backwards: bool, limit: int
) -> streams_pb2.ReadReq:
    """
    Return the request to read a stream.

    Args:
        name: The stream's name.
        position: Where to begin, inclusive; None for the end that the
            direction begins at.
        backwards: Whether to read towards the first event.
        limit: Most events to read.
    """
    stream = Options.StreamOptions(
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=name.encode())
    )
    if position is not None:
        stream.revision = position
    elif backwards:
        stream.end.CopyFrom(_EMPTY)
    else:
        stream.start.CopyFrom(_EMPTY)
    return _request(backwards, None, stream=stream, count=limit)


def all_request(
    position: int | None,
    *,
    backwards: bool,
    limit: int,
    server_filter: Options.FilterOptions | None = None,
) -> streams_pb2.ReadReq:
    """
    Return the request to read all streams.

    Args:
        position: Commit position to begin at, inclusive forwards and exclusive
            backwards; None for the end that the direction begins at.
        backwards: Whether to read towards the first event.
        limit: Most events to read that match.
        server_filter: What matches; None for everything.
    """
    everything = _all_options(position, at_end=backwards)
    return _request(backwards, server_filter, all=everything, count=limit)


def subscription_request(
    after: int | None, server_filter: Options.FilterOptions | None
) -> streams_pb2.ReadReq:
    """Return the request for what lies after a position, and then for what is new."""
    return _request(
        False,
        server_filter,
        all=_all_options(after, at_end=False),
        subscription=Options.SubscriptionOptions(),
    )


def filter_by_type(pattern: str) -> Options.FilterOptions:
    """Return the filter for types that a regular expression finds."""
    return _filter(event_type=Options.FilterOptions.Expression(regex=pattern))


def filter_by_stream(*, pattern: str = "", prefix: str = "") -> Options.FilterOptions:
    """Return the filter for streams' names, by pattern or by prefix."""
    expression = Options.FilterOptions.Expression(
        regex=pattern, prefix=[prefix] if prefix else []
    )
    return _filter(stream_identifier=expression)


def start_read(
    client: EventStoreDBClient,
    request: streams_pb2.ReadReq,
    timeout: float | None = None,
) -> Any:
    """
    Send a request and return the call, an iterator of messages.

    The call has the speed that the client's channel has: clients that
    :mod:`eventsourcing_eventstoredb.protocol.clients` makes are several times as fast.

    Args:
        timeout: Seconds that the whole call may take; None for no limit.
    """
    streams = client.streams
    return streams._stub.Read(
        request,
        timeout=timeout,
        metadata=streams._metadata(client._call_metadata),
        credentials=client._call_credentials,
    )


def read_messages(
    client: EventStoreDBClient,
    request: streams_pb2.ReadReq,
    timeout: float | None = None,
) -> Iterator[streams_pb2.ReadResp]:
    """
    Yield a read's messages in the server's order, to the last one or to an error.

    Closing the iterator ends the call.

    Raises:
        EventStoreDBClientException: The read failed or was cut short.
    """
    process_id = os.getpid()
    call = start_read(client, request, timeout)
    try:
        yield from call
    except grpc.RpcError as error:
        raise client_exception(error) from error
    finally:
        # In a forked child nothing would ever come of the parent's call.
        if process_id == os.getpid():
            end_call(call)


def end_call(call: Any) -> None:
    """
    Break off a call, and have gRPC forget it.

    Only for the thread that iterates over the call. Where no other thread of gRPC's
    serves the call, it is kept, with all that it has received, until somebody takes
    the last that gRPC has to tell of it. :meth:`cancel` alone ends iteration before.
    """
    call.cancel()
    # A call of another kind is served by a thread of gRPC's.
    take = getattr(call, "_consume_next_event", None)
    while take is not None and call._state.due:
        take()


def client_exception(error: grpc.RpcError) -> Exception:
    """Return the client's exception for what gRPC raised."""
    if isinstance(error, grpc.Call):
        is_deleted = "is deleted" in (error.details() or "")
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION and is_deleted:
            return StreamIsDeleted(error.details())
    return handle_rpc_error(error)


def read_head(client: EventStoreDBClient, timeout: float | None) -> int | None:
    """
    Return the position of the last event in the store, None if it is empty.

    Raises:
        EventStoreDBClientException: The read failed or was cut short.
    """
    request = all_request(None, backwards=True, limit=1)
    position = None
    for message in read_messages(client, request, timeout):
        if message.WhichOneof("content") == "event":
            position = int(message.event.event.commit_position)
    return position


def _all_options(position: int | None, *, at_end: bool) -> Options.AllOptions:
    if position is not None:
        return Options.AllOptions(
            position=Options.Position(
                commit_position=position, prepare_position=position
            )
        )
    return (
        Options.AllOptions(end=_EMPTY) if at_end else Options.AllOptions(start=_EMPTY)
    )


def _filter(**expression: Options.FilterOptions.Expression) -> Options.FilterOptions:
    return Options.FilterOptions(
        max=_WINDOW,
        checkpointIntervalMultiplier=_CHECKPOINT_MULTIPLIER,
        **expression,
    )


def _request(
    backwards: bool, server_filter: Options.FilterOptions | None, **kind: Any
) -> streams_pb2.ReadReq:
    which: dict[str, Any] = (
        {"no_filter": _EMPTY} if server_filter is None else {"filter": server_filter}
    )
    return streams_pb2.ReadReq(
        options=Options(
            read_direction=Options.Backwards if backwards else Options.Forwards,
            resolve_links=False,
            uuid_option=Options.UUIDOption(string=_EMPTY),
            **which,
            **kind,
        )
    )
