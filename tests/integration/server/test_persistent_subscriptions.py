from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent
from eventsourcing_eventstoredb.server.persistent.consumers import (
    Consumer,
    Delivery,
    make_strategy,
)
from eventsourcing_eventstoredb.server.storage.records import Record
from tests.support.client_library import (
    AlreadyExists,
    EventStoreDBClient,
    GrpcError,
    InternalError,
    MaximumSubscriptionsReached,
    NewEvent,
    NotFound,
    PersistentSubscription,
    StreamState,
    persistent_pb2,
    persistent_pb2_grpc,
    shared_pb2,
)


@pytest.fixture
def other_client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    with EventStoreDBClient(server.uri) as client:
        yield client


def append(
    client: EventStoreDBClient, *types: str, stream: str = "dog", **arguments: bytes
) -> list[NewEvent]:
    events = [NewEvent(one, b"{}", **arguments) for one in types]
    client.append_events(stream, current_version=StreamState.ANY, events=events)
    return events


def take(subscription: PersistentSubscription, count: int) -> list[str]:
    return [event.type for event in islice(subscription, count)]


def acknowledge(subscription: PersistentSubscription, count: int) -> list[str]:
    types = []
    for event in islice(subscription, count):
        subscription.ack(event)
        types.append(event.type)
    return types


def test_consumers_share_the_events(
    client: EventStoreDBClient, other_client: EventStoreDBClient
):
    client.create_subscription_to_stream("group", "dog", consumer_strategy="RoundRobin")
    first = client.read_subscription_to_stream("group", "dog")
    second = other_client.read_subscription_to_stream("group", "dog")
    append(client, "A", "B", "C", "D")

    assert take(first, 2) == ["A", "C"]
    assert take(second, 2) == ["B", "D"]
    first.stop()
    second.stop()


def test_what_a_consumer_leaves_goes_to_another(
    client: EventStoreDBClient, other_client: EventStoreDBClient
):
    client.create_subscription_to_stream(
        "group", "dog", consumer_strategy="DispatchToSingle"
    )
    append(client, "A", "B")
    first = client.read_subscription_to_stream("group", "dog")
    assert take(first, 2) == ["A", "B"]
    second = other_client.read_subscription_to_stream("group", "dog")
    first.stop()

    events = list(islice(second, 2))
    assert [event.type for event in events] == ["A", "B"]
    assert [event.retry_count for event in events] == [1, 1]
    second.stop()


def test_a_group_resumes_where_its_consumers_stopped(client: EventStoreDBClient):
    client.create_subscription_to_stream("group", "dog", max_checkpoint_count=1)
    append(client, "A", "B", "C")
    with client.read_subscription_to_stream(
        "group", "dog", max_ack_batch_size=1
    ) as subscription:
        acknowledge(subscription, 2)
        wait_for_acknowledgement(client, 2)

    with client.read_subscription_to_stream("group", "dog") as subscription:
        assert take(subscription, 1) == ["C"]


def wait_for_acknowledgement(client: EventStoreDBClient, count: int) -> None:
    checkpoints = client.subscribe_to_stream(
        "$persistentsubscription-dog::group-checkpoint"
    )
    while next(checkpoints).data != f'"{count - 1}"'.encode():
        pass
    checkpoints.stop()


def test_a_filter_limits_what_a_group_gets(client: EventStoreDBClient):
    client.create_subscription_to_all("group", filter_include=["Dog.*"])
    append(client, "CatBorn", "DogBorn", "CatDied", "DogDied")

    with client.read_subscription_to_all("group") as subscription:
        assert take(subscription, 2) == ["DogBorn", "DogDied"]


def test_an_update_keeps_the_filter_and_drops_consumers(client: EventStoreDBClient):
    client.create_subscription_to_all("group", filter_include=["Dog.*"])
    append(client, "CatBorn", "DogBorn")
    subscription = client.read_subscription_to_all("group")
    assert take(subscription, 1) == ["DogBorn"]

    client.update_subscription_to_all("group", max_retry_count=3)

    with pytest.raises(GrpcError, match="was dropped"):
        next(subscription)
    with client.read_subscription_to_all("group") as subscription:
        assert take(subscription, 1) == ["DogBorn"]
    assert client.get_subscription_info("group").max_retry_count == 3


def test_parked_events_can_be_looked_at_and_replayed_in_part(
    client: EventStoreDBClient,
):
    client.create_subscription_to_stream("group", "dog")
    append(client, "A", "B", "C")
    subscription = client.read_subscription_to_stream(
        "group", "dog", max_ack_batch_size=1
    )
    for event in islice(subscription, 3):
        subscription.nack(event, action="park")
    parked = client.subscribe_to_stream("$persistentsubscription-dog::group-parked")
    links = list(islice(parked, 3))
    parked.stop()

    assert [link.data for link in links] == [b"0@dog", b"1@dog", b"2@dog"]
    assert "NAK'ed" in json.loads(links[0].metadata)["reason"]
    info = client.get_subscription_info("group", "dog")
    assert info.parked_message_count == 3

    client.replay_parked_events("group", "dog")
    assert take(subscription, 3) == ["A", "B", "C"]
    info = client.get_subscription_info("group", "dog")
    assert info.parked_message_count == 0
    subscription.stop()


def test_an_event_is_parked_when_its_retries_are_used_up(client: EventStoreDBClient):
    client.create_subscription_to_stream("group", "dog", max_retry_count=1)
    append(client, "A")
    subscription = client.read_subscription_to_stream(
        "group", "dog", max_ack_batch_size=1
    )
    for event in islice(subscription, 2):
        subscription.nack(event, action="retry")
    parked = client.subscribe_to_stream("$persistentsubscription-dog::group-parked")

    assert json.loads(next(parked).metadata)["reason"] == "Reached retry count of 1"
    parked.stop()
    subscription.stop()


def test_links_are_resolved_when_asked_for(client: EventStoreDBClient):
    client.create_subscription_to_stream("group", "links", resolve_links=True)
    (event,) = append(client, "A")
    client.append_events(
        "links",
        current_version=StreamState.NO_STREAM,
        events=[NewEvent("$>", b"0@dog", content_type="application/octet-stream")],
    )

    with client.read_subscription_to_stream("group", "links") as subscription:
        received = next(subscription)
        subscription.ack(received)
    assert received.id == event.id
    assert received.link.stream_name == "links"


def test_no_more_consumers_than_allowed(client: EventStoreDBClient):
    client.create_subscription_to_all("group", max_subscriber_count=1)
    with (
        client.read_subscription_to_all("group"),
        pytest.raises(MaximumSubscriptionsReached),
    ):
        client.read_subscription_to_all("group")


def test_a_group_cannot_be_made_twice(client: EventStoreDBClient):
    client.create_subscription_to_all("group")
    client.create_subscription_to_stream("group", "dog")

    with pytest.raises(AlreadyExists):
        client.create_subscription_to_all("group")
    with pytest.raises(AlreadyExists):
        client.create_subscription_to_stream("group", "dog")


def test_settings_that_make_no_sense_are_refused(client: EventStoreDBClient):
    with pytest.raises(InternalError, match="Consumer strategy Unknown does not exist"):
        client.create_subscription_to_all("group", consumer_strategy="Unknown")
    with pytest.raises(InternalError, match="failed"):
        client.create_subscription_to_stream("group", "$all")
    with pytest.raises(InternalError, match="failed"):
        client.create_subscription_to_all("group", commit_position=10**9)


def test_a_group_that_is_deleted_forgets_its_progress(client: EventStoreDBClient):
    client.create_subscription_to_stream("group", "dog", max_checkpoint_count=1)
    append(client, "A", "B")
    with client.read_subscription_to_stream(
        "group", "dog", max_ack_batch_size=1
    ) as subscription:
        acknowledge(subscription, 2)
        wait_for_acknowledgement(client, 2)
    client.delete_subscription("group", "dog")

    with pytest.raises(NotFound):
        client.read_subscription_to_stream("group", "dog")
    client.create_subscription_to_stream("group", "dog")
    with client.read_subscription_to_stream("group", "dog") as subscription:
        assert take(subscription, 2) == ["A", "B"]


def test_groups_are_listed_by_source(client: EventStoreDBClient):
    client.create_subscription_to_all("one")
    client.create_subscription_to_stream("two", "dog")

    assert {one.group_name for one in client.list_subscriptions()} == {"one", "two"}
    (group,) = client.list_subscriptions_to_stream("dog")
    assert (group.group_name, group.event_source) == ("two", "dog")
    assert client.list_subscriptions_to_stream("cat") == []


def test_a_group_describes_its_consumers(server: EmbeddedServer):
    request = persistent_pb2.GetInfoReq(
        options=persistent_pb2.GetInfoReq.Options(
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"dog"),
            group_name="group",
        )
    )
    with (
        EventStoreDBClient(server.uri + "&ConnectionName=rex") as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        client.create_subscription_to_stream("group", "dog")
        append(client, "A", "B")
        with client.read_subscription_to_stream(
            "group", "dog", event_buffer_size=10
        ) as subscription:
            next(subscription)
            stub = persistent_pb2_grpc.PersistentSubscriptionsStub(channel)
            info = stub.GetInfo(request).subscription_info

    (connection,) = info.connections
    assert connection.connection_name == "rex"
    assert connection.username == "system"
    assert connection.available_slots == 8
    assert info.outstanding_messages_count == 2
    assert info.last_known_event_position == "1"


def test_a_large_buffer_gets_all_events(client: EventStoreDBClient):
    append(client, *["A"] * 1000)
    append(client, *["B"] * 1000)
    client.create_subscription_to_stream("group", "dog")

    with client.read_subscription_to_stream(
        "group", "dog", event_buffer_size=2000
    ) as subscription:
        assert take(subscription, 2000) == ["A"] * 1000 + ["B"] * 1000


def test_a_consumer_that_does_not_read_takes_little_memory(
    server: EmbeddedServer, client: EventStoreDBClient
):
    for _ in range(40):
        client.append_events(
            "dog",
            current_version=StreamState.ANY,
            events=[NewEvent("T", b"x" * 10_000) for _ in range(100)],
        )
    client.create_subscription_to_stream("group", "dog")
    tracemalloc.start()
    try:
        with client.read_subscription_to_stream(
            "group", "dog", event_buffer_size=1_000_000
        ) as subscription:
            next(subscription)
            client.get_subscription_info("group", "dog")
            grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # There are 40 MB of events.
    assert grown < 20_000_000


def test_acknowledgements_do_not_revive_a_deleted_group(
    client: EventStoreDBClient,
):
    client.create_subscription_to_stream("group", "dog", max_checkpoint_count=1)
    append(client, "A", "B")
    group = "$persistentsubscription-dog::group"
    subscription = client.read_subscription_to_stream("group", "dog")
    next(subscription)
    client.delete_subscription("group", "dog")
    with pytest.raises(GrpcError, match="was dropped"):
        list(subscription)

    for stream in (f"{group}-checkpoint", f"{group}-parked"):
        with pytest.raises(NotFound):
            client.get_stream(stream)


def delivery(stream: str, metadata: bytes = b"") -> Delivery:
    record = Record(1, stream, 0, bytes(16), "T", 1, 0, b"", metadata)
    return Delivery(ResolvedEvent(record), key=0)


def test_pinned_streams_keep_their_consumer():
    consumers = [Consumer(10, str(number)) for number in range(4)]
    strategy = make_strategy("Pinned")
    streams = [f"stream-{number}" for number in range(100)]
    before = {one: strategy.choose(consumers, delivery(one)) for one in streams}

    left = consumers[1:]
    after = {one: strategy.choose(left, delivery(one)) for one in streams}

    assert set(before.values()) == set(consumers)
    assert all(
        after[one] is before[one] for one in streams if before[one] is not consumers[0]
    )


def test_pinning_by_correlation_looks_at_the_metadata():
    consumers = [Consumer(10, str(number)) for number in range(4)]
    strategy = make_strategy("PinnedByCorrelation")
    metadata = b'{"$correlationId": "x"}'
    chosen = {
        strategy.choose(consumers, delivery(f"stream-{number}", metadata))
        for number in range(50)
    }

    assert len(chosen) == 1
