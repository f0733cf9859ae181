"""Subscriptions that are left without being stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.subscriptions import read_ahead, receiving, state
from eventsourcing_eventstoredb.subscriptions.subscription import (
    EventStoreDBSubscription,
)
from tests.support.collecting import at_each_line

RECEIVER = "eventstoredb-receiver"
SECONDS = 20


@pytest.fixture
def recorder(server: EmbeddedServer) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(server.uri))
    yield EventStoreDBApplicationRecorder(client)
    client.close()


def save(recorder: EventStoreDBApplicationRecorder, count: int) -> None:
    originator_id = uuid4()
    recorder.insert_events(
        [StoredEvent(originator_id, n, "topic", b"{}") for n in range(count)]
    )


def receivers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == RECEIVER}


def test_one_may_be_collected_wherever_its_thread_is(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    """Also where that thread holds a lock that a stop needs."""
    others = receivers()
    places: set[tuple[str, int]] = set()
    held: list[EventStoreDBSubscription] = []

    def collect() -> None:
        frame = sys._getframe(2)
        place = frame.f_code.co_filename, frame.f_lineno
        if held and place not in places:
            places.add(place)
            # Which runs its finalizer here.
            held.clear()

    save(recorder, 2)
    while not held:
        with at_each_line(collect, read_ahead, receiving, state, in_threads=RECEIVER):
            # Its thread receives an event, and waits for room.
            subscription = EventStoreDBSubscription(recorder, max_events_ahead=1)
            ahead = subscription.read_ahead
            held.append(subscription)
            del subscription
            for _ in range(2):
                ahead.take(1, SECONDS)
            save(recorder, 1)
            ahead.take(1, SECONDS)
    held.clear()

    for receiver in receivers() - others:
        receiver.join(SECONDS)
        assert not receiver.is_alive()
    assert len(places) > 20
