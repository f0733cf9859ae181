"""
Rules that show only in combinations, compared with EventStoreDB 23.10's own code.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest
from google.protobuf import empty_pb2

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    InternalError,
    NewEvent,
    StreamIsDeleted,
    StreamState,
    persistent_pb2,
    persistent_pb2_grpc,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)

MAX_NUMBER = 2**63 - 1


@pytest.fixture
def channel(server: EmbeddedServer) -> Iterator[grpc.Channel]:
    target = server.uri.removeprefix("esdb://").partition("?")[0]
    with grpc.insecure_channel(target) as channel:
        yield channel


def append(client: EventStoreDBClient, stream: str, *events: NewEvent) -> None:
    client.append_events(stream, current_version=StreamState.ANY, events=events)


def event(type_name: str = "T", data: bytes = b"{}") -> NewEvent:
    return NewEvent(type_name, data)


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


def kinds(call: Iterator[streams_pb2.ReadResp], count: int) -> list[str]:
    return [message.WhichOneof("content") for message in islice(call, count)]


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

    with pytest.raises(grpc.RpcError):
        next(call)


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


def proposed(
    event_id: shared_pb2.UUID | None, type_name: str = "T"
) -> streams_pb2.BatchAppendReq.ProposedMessage:
    return streams_pb2.BatchAppendReq.ProposedMessage(
        id=event_id,
        metadata={"type": type_name, "content-type": "application/json"},
    )


def batch(
    *messages: streams_pb2.BatchAppendReq.ProposedMessage,
    correlation_id: shared_pb2.UUID | None,
    seconds: int = 10,
    is_final: bool = True,
) -> streams_pb2.BatchAppendReq:
    options = streams_pb2.BatchAppendReq.Options(any=empty_pb2.Empty())
    options.stream_identifier.stream_name = b"dog"
    options.deadline.seconds = seconds
    return streams_pb2.BatchAppendReq(
        correlation_id=correlation_id,
        options=options,
        proposed_messages=messages,
        is_final=is_final,
    )


def new_id() -> shared_pb2.UUID:
    return shared_pb2.UUID(string=str(uuid.uuid4()))


def reason(answer: streams_pb2.BatchAppendResp) -> str:
    details = shared_pb2.BadRequest()
    assert answer.error.details.Unpack(details)
    return str(details.message)


INVALID_LENGTH = (
    "Guid should contain 32 digits with 4 dashes"
    " (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)."
)
INVALID_CHARACTER = "Guid string should only contain hexadecimal characters."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (proposed(None), "Value cannot be null. (Parameter 'dto')"),
        (proposed(shared_pb2.UUID()), "Invalid argument: None (Parameter 'dto')"),
        (proposed(shared_pb2.UUID(string=" ")), "Unrecognized Guid format."),
        (proposed(shared_pb2.UUID(string="no-uuid")), INVALID_LENGTH),
        (proposed(shared_pb2.UUID(string="abc")), INVALID_LENGTH),
        (proposed(shared_pb2.UUID(string="x" * 32)), INVALID_CHARACTER),
        (
            proposed(shared_pb2.UUID(string="-" + "0" * 35)),
            "Dashes are in the wrong position for GUID parsing.",
        ),
        (
            proposed(shared_pb2.UUID(string="0" * 32)),
            "Empty eventId provided. (Parameter 'eventId')",
        ),
        (proposed(new_id(), ""), "Empty eventType provided. (Parameter 'eventType')"),
    ],
)
def test_a_bad_event_is_named_in_the_words_of_the_real_server(
    channel, message, expected
):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(message, correlation_id=new_id())

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == expected


def test_a_batch_without_a_correlation_id_is_a_bad_request(client, channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(new_id()), correlation_id=None)

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == "Value cannot be null. (Parameter 'dto')"
    assert client.get_current_version("dog") is StreamState.NO_STREAM


def test_a_batch_without_a_name_is_refused_before_its_deadline_is_looked_at(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(None), correlation_id=new_id(), seconds=0)
    request.options.stream_identifier.stream_name = b""

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == "Value cannot be null. (Parameter 'value')"


def test_a_passed_deadline_comes_before_a_bad_event(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(None), correlation_id=new_id(), seconds=0)

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert answer.error.message == "Timeout"


def test_both_forms_of_a_correlation_id_name_the_same_batch(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    value = uuid.uuid4()
    structured = shared_pb2.UUID()
    structured.structured.most_significant_bits = int.from_bytes(
        value.bytes[:8], "big", signed=True
    )
    structured.structured.least_significant_bits = int.from_bytes(
        value.bytes[8:], "big", signed=True
    )
    first = batch(
        proposed(new_id()),
        correlation_id=shared_pb2.UUID(string=str(value)),
        is_final=False,
    )
    last = streams_pb2.BatchAppendReq(
        correlation_id=structured, proposed_messages=[proposed(new_id())], is_final=True
    )

    (answer,) = stub.BatchAppend(iter([first, last]), timeout=10)

    assert answer.success.current_revision == 1


def test_a_bad_event_after_the_options_ends_the_call(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    correlation_id = new_id()
    first = batch(proposed(new_id()), correlation_id=correlation_id, is_final=False)
    last = streams_pb2.BatchAppendReq(
        correlation_id=correlation_id, proposed_messages=[proposed(None)], is_final=True
    )

    with pytest.raises(grpc.RpcError) as raised:
        list(stub.BatchAppend(iter([first, last]), timeout=10))

    assert raised.value.details() == "Exception was thrown by handler."


# -- persistent subscriptions ----------------------------------------------------------


def test_a_consumer_has_to_say_how_ids_are_to_be_written(client, channel):
    client.create_subscription_to_stream("group", "dog")
    options = persistent_pb2.ReadReq.Options(group_name="group", buffer_size=1)
    options.stream_identifier.stream_name = b"dog"
    stub = persistent_pb2_grpc.PersistentSubscriptionsStub(channel)

    with pytest.raises(grpc.RpcError) as raised:
        list(stub.Read(iter([persistent_pb2.ReadReq(options=options)]), timeout=10))

    assert raised.value.details() == "Exception was thrown by handler."


def parked(client: EventStoreDBClient, group: str = "dog::group") -> list[dict]:
    stream = f"$persistentsubscription-{group}-parked"
    events = client.get_stream(stream)
    return [
        {"data": one.data.decode(), **json.loads(one.metadata)}
        for one in events
        if one.metadata
    ]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_parked_events_tell_their_number(client):
    append(client, "dog", event(), event())
    client.create_subscription_to_stream("group", "dog")
    subscription = client.read_subscription_to_stream("group", "dog", timeout=20)
    for one in islice(subscription, 2):
        subscription.nack(one, "park")
    info = lambda: client.get_subscription_info("group", "dog")  # noqa: E731
    wait_for(lambda: info().parked_message_count == 2)
    subscription.stop()

    first, second = parked(client)

    assert "subscriptionEventNumber" not in first
    assert second["subscriptionEventNumber"] == 1


def test_an_unfinished_event_of_a_consumer_that_leaves_is_not_parked(client):
    append(client, "dog", event("A"))
    client.create_subscription_to_stream("group", "dog", max_retry_count=0)
    first = client.read_subscription_to_stream("group", "dog", timeout=20)
    assert next(first).type == "A"
    first.stop()

    second = client.read_subscription_to_stream("group", "dog", timeout=20)

    again = next(second)
    assert (again.type, again.retry_count) == ("A", 1)
    second.stop()


def test_a_consumer_that_has_nothing_to_say_gets_events(client, channel):
    append(client, "dog", event())
    client.create_subscription_to_stream("group", "dog")
    options = persistent_pb2.ReadReq.Options(group_name="group", buffer_size=10)
    options.stream_identifier.stream_name = b"dog"
    options.uuid_option.string.SetInParent()
    stub = persistent_pb2_grpc.PersistentSubscriptionsStub(channel)

    call = stub.Read(iter([persistent_pb2.ReadReq(options=options)]), timeout=20)

    assert kinds(call, 2) == ["subscription_confirmation", "event"]
    append(client, "dog", event())
    assert kinds(call, 1) == ["event"]
    call.cancel()


def test_parking_counts_towards_a_checkpoint(client):
    append(client, "dog", event(), event())
    client.create_subscription_to_stream(
        "group",
        "dog",
        min_checkpoint_count=2,
        max_checkpoint_count=2,
        checkpoint_after=60.0,
    )
    subscription = client.read_subscription_to_stream("group", "dog", timeout=20)
    for one in islice(subscription, 2):
        subscription.nack(one, "park")
    info = lambda: client.get_subscription_info("group", "dog")  # noqa: E731
    wait_for(lambda: info().last_checkpointed_event_position == "1")

    assert info().last_checkpointed_event_position == "1"
    subscription.stop()


def test_a_group_knows_the_events_that_were_not_consumed(client):
    append(client, "dog", event(), event())
    client.create_subscription_to_stream("group", "dog")

    info = client.get_subscription_info("group", "dog")

    assert info.last_known_event_position == "1"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"read_batch_size": 5, "history_buffer_size": 5},
            "'ReadBatchSize may not be greater than or equal to BufferSize'",
        ),
        (
            {"read_batch_size": 0, "history_buffer_size": 0},
            "'ReadBatchSize may not be greater than or equal to BufferSize'",
        ),
    ],
)
def test_a_group_needs_a_buffer_larger_than_its_batches(channel, arguments, text):
    settings = persistent_pb2.CreateReq.Settings(
        consumer_strategy="RoundRobin", **arguments
    )
    options = persistent_pb2.CreateReq.Options(group_name="g", settings=settings)
    options.stream.stream_identifier.stream_name = b"dog"
    options.stream.start.SetInParent()
    stub = persistent_pb2_grpc.PersistentSubscriptionsStub(channel)

    with pytest.raises(grpc.RpcError) as raised:
        stub.Create(persistent_pb2.CreateReq(options=options), timeout=10)

    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert text in str(raised.value.details())


def test_a_group_cannot_begin_beyond_the_last_event(client):
    append(client, "dog", event())
    last = client.get_commit_position(filter_exclude=())
    client.create_subscription_to_all("at-the-last", commit_position=last)
    beyond = client.get_commit_position(filter_exclude=()) + 1

    with pytest.raises(InternalError, match="less than or equal to the last commit"):
        client.create_subscription_to_all("beyond", commit_position=beyond)


def test_the_groups_of_a_source_can_be_none(client, channel):
    client.create_subscription_to_stream("group", "dog")
    client.delete_subscription("group", "dog")
    options = persistent_pb2.ListReq.Options()
    options.list_for_stream.stream.stream_name = b"dog"
    stub = persistent_pb2_grpc.PersistentSubscriptionsStub(channel)

    answer = stub.List(persistent_pb2.ListReq(options=options), timeout=10)

    assert list(answer.subscriptions) == []
