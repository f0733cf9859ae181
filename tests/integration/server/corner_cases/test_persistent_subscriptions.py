"""
Rules for groups of consumers that show only in combinations, compared with EventStoreDB
23.10's own code.
"""

from __future__ import annotations

import json
from itertools import islice

import grpc
import pytest

from tests.support.client_library import (
    EventStoreDBClient,
    InternalError,
    persistent_pb2,
    persistent_pb2_grpc,
)
from tests.support.clients import append, event, kinds
from tests.support.patience import wait_until


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


def test_parked_events_tell_their_number(client):
    append(client, "dog", event(), event())
    client.create_subscription_to_stream("group", "dog")
    subscription = client.read_subscription_to_stream("group", "dog", timeout=20)
    for one in islice(subscription, 2):
        subscription.nack(one, "park")
    info = lambda: client.get_subscription_info("group", "dog")  # noqa: E731
    wait_until(lambda: info().parked_message_count == 2)
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
    wait_until(lambda: info().last_checkpointed_event_position == "1")

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
