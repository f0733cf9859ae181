"""A log in which many aggregates' events are mixed, as in a store that lives."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence

from eventsourcing.persistence import StoredEvent

from benchmarks.support.client_library import EventStoreDBClient
from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.protocol.batching import Batch, batch_call
from eventsourcing_eventstoredb.protocol.clients import connector_of
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent, StreamState

# Events of an aggregate that are saved at once.
_SAVED_TOGETHER = 2
# Events of others between two saves of an aggregate, on average.
_BETWEEN = 2_000
_SECONDS = 60.0
_SEED = 7


def saves(aggregates: Iterator[Sequence[StoredEvent]]) -> Iterator[list[StoredEvent]]:
    """
    Yield each save of aggregates that live at the same time, always in the same order.

    An aggregate's saves are some random time apart, so that a row that was changed is
    changed again some thousand events later, and one save in five is of a new one.

    Args:
        aggregates: The events of one after the other.
    """
    chance = random.Random(_SEED)
    # By the moment of their next save, in events.
    due: list[tuple[float, int, Sequence[StoredEvent]]] = []
    begun = 0.0
    for number, events in enumerate(aggregates):
        while due and due[0][0] <= begun:
            yield _next_save(due, chance)
        heapq.heappush(due, (begun, number, events))
        begun += len(events)
    while due:
        yield _next_save(due, chance)


def _next_save(
    due: list[tuple[float, int, Sequence[StoredEvent]]], chance: random.Random
) -> list[StoredEvent]:
    moment, number, events = heapq.heappop(due)
    saved, left = events[:_SAVED_TOGETHER], events[_SAVED_TOGETHER:]
    if left:
        later = moment + chance.uniform(0, 2 * _BETWEEN)
        heapq.heappush(due, (later, number, left))
    return list(saved)


def append(uri: str, prefix: str, saved: Iterator[list[StoredEvent]]) -> None:
    """Append saves in their order, without waiting for each one's answer."""
    client = EventStoreDBClient(uri)
    call = batch_call(connector_of(client).for_leader.connection(_SECONDS))
    under_way: list[Batch] = []
    for events in saved:
        first = events[0].originator_version
        request = messages.append_request(
            f"{prefix}-{events[0].originator_id}",
            first - 1 if first else StreamState.NO_STREAM,
            [ProposedEvent(type=e.topic, data=e.state) for e in events],
            _SECONDS,
        )
        under_way.append(call.begin(request, _SECONDS))
    for batch in under_way:
        messages.appended(call.result(batch, _SECONDS))
    client.close()
