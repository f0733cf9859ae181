"""
Rules for streams that show only in combinations, compared with EventStoreDB 23.10's own
code.
"""

from __future__ import annotations

import threading

import grpc
import pytest

from tests.support.client_library import (
    StreamIsDeleted,
    StreamState,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)
from tests.support.clients import append, event, kinds

MAX_NUMBER = 2**63 - 1


def subscribe(channel: grpc.Channel, stream: str, start: int | None) -> grpc.Call:
    options = streams_pb2.ReadReq.Options(
        resolve_links=True,
        subscription=streams_pb2.ReadReq.Options.SubscriptionOptions(),
        no_filter=shared_pb2.Empty(),
    )
    options.stream.stream_identifier.stream_name = stream.encode()
    options.uuid_option.string.SetInParent()
    if start is None:
        options.stream.end.SetInParent()
    else:
        options.stream.revision = start
    stub = streams_pb2_grpc.StreamsStub(channel)
    return stub.Read(streams_pb2.ReadReq(options=options), timeout=10)


def test_a_subscription_from_the_end_of_a_tombstoned_stream_stays_silent(
    client, channel
):
    append(client, "dog", event())
    client.tombstone_stream("dog", current_version=StreamState.ANY)
    call = subscribe(channel, "dog", None)
    assert kinds(call, 2) == ["confirmation", "caught_up"]

    append(client, "cat", event())

    assert call.is_active()
    call.cancel()


def test_a_subscription_after_the_largest_number_waits(client, channel):
    append(client, "dog", event())
    call = subscribe(channel, "dog", MAX_NUMBER)
    assert kinds(call, 2) == ["confirmation", "caught_up"]

    append(client, "dog", event())

    assert call.is_active()
    call.cancel()


def test_a_metadata_stream_can_be_deleted_again_and_again(client):
    append(client, "dog", event())
    client.set_stream_metadata("dog", metadata={"a": 1})

    for _ in range(3):
        client.delete_stream("$$dog", current_version=StreamState.ANY)

    (last,) = client.get_stream("$$$$dog")
    assert last.stream_position == 2


def test_a_stream_whose_metadata_stream_has_a_tombstone_cannot_be_deleted(client):
    append(client, "dog", event())
    client.set_stream_metadata("dog", metadata={"a": 1})
    client.tombstone_stream("$$dog", current_version=StreamState.ANY)

    with pytest.raises(StreamIsDeleted):
        client.delete_stream("dog", current_version=StreamState.ANY)

    assert len(client.get_stream("dog")) == 1


@pytest.mark.parametrize("data", [b"x@dog", b"nothing", b"", b"1.0@dog"])
def test_a_link_without_a_number_leads_nowhere_only_when_live(client, channel, data):
    append(client, "links", event("$>", data))
    call = subscribe(channel, "links", None)
    assert kinds(call, 2) == ["confirmation", "caught_up"]
    append(client, "links", event("$>", data))

    live = next(call).event
    (read,) = client.read_stream("links", resolve_links=True, limit=1)

    assert (live.HasField("event"), live.link.stream_revision) == (False, 1)
    assert (read.type, read.link) == ("$>", None)
    call.cancel()


def test_a_read_in_windows_of_nothing_is_empty(client, channel):
    append(client, "dog", event())
    options = streams_pb2.ReadReq.Options(count=10)
    options.all.start.SetInParent()
    options.filter.event_type.regex = "T"
    options.filter.max = 0
    options.uuid_option.string.SetInParent()
    stub = streams_pb2_grpc.StreamsStub(channel)

    assert list(stub.Read(streams_pb2.ReadReq(options=options), timeout=10)) == []


def read_without_uuid_option(
    channel: grpc.Channel, stream: str, seconds: float, *, subscribes: bool = False
) -> grpc.Call:
    options = streams_pb2.ReadReq.Options(no_filter=shared_pb2.Empty())
    options.stream.stream_identifier.stream_name = stream.encode()
    options.stream.start.SetInParent()
    if subscribes:
        options.subscription.SetInParent()
    else:
        options.count = 10
    stub = streams_pb2_grpc.StreamsStub(channel)
    return stub.Read(streams_pb2.ReadReq(options=options), timeout=seconds)


@pytest.mark.parametrize("subscribes", [False, True])
def test_without_a_form_of_ids_a_call_is_silent_from_the_first_event_on(
    client, channel, subscribes
):
    append(client, "dog", event())
    call = read_without_uuid_option(channel, "dog", 0.5, subscribes=subscribes)
    told = []

    with pytest.raises(grpc.RpcError) as raised:
        for message in call:
            told.append(message.WhichOneof("content"))

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert told == (["confirmation"] if subscribes else [])


def test_without_a_form_of_ids_what_is_no_event_is_told(client, channel):
    call = read_without_uuid_option(channel, "dog", 10)
    assert kinds(call, 2) == ["stream_not_found"]

    call = read_without_uuid_option(channel, "dog", 10, subscribes=True)
    assert kinds(call, 1) == ["confirmation"]
    call.cancel()


def test_a_call_that_is_silent_ends_with_the_server(server, client, channel):
    append(client, "dog", event())
    call = read_without_uuid_option(channel, "dog", 60)
    client.close()

    server.stop()

    # Once in thousands of runs gRPC did not hear of it, whatever the call's deadline.
    guard = threading.Timer(120, channel.close)
    guard.daemon = True
    guard.start()
    with pytest.raises(grpc.RpcError):
        next(call)
    guard.cancel()


@pytest.mark.parametrize(
    ("window", "multiplier", "found"),
    [
        ({"max": 1000}, 1, '{ "max": 1000, "checkpointIntervalMultiplier": 1 }'),
        (
            {"count": shared_pb2.Empty()},
            2,
            '{ "count": { }, "checkpointIntervalMultiplier": 2 }',
        ),
        ({"max": 0}, 0, '{ "max": 0 }'),
        ({}, 0, "{ }"),
    ],
)
def test_a_filter_without_an_expression_is_repeated(channel, window, multiplier, found):
    options = streams_pb2.ReadReq.Options(
        count=10,
        filter=streams_pb2.ReadReq.Options.FilterOptions(
            checkpointIntervalMultiplier=multiplier, **window
        ),
    )
    options.all.start.SetInParent()
    options.uuid_option.string.SetInParent()
    stub = streams_pb2_grpc.StreamsStub(channel)

    with pytest.raises(grpc.RpcError) as raised:
        list(stub.Read(streams_pb2.ReadReq(options=options), timeout=10))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == (
        f"'{found}' is not a valid"
        " EventStore.Client.Streams.ReadReq+Types+Options+Types+FilterOptions"
    )


# -- batches ---------------------------------------------------------------------------


# -- persistent subscriptions ----------------------------------------------------------
