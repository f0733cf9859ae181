"""The consumers of a group, and which of them gets an event."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent

_numbers = itertools.count()

_MAX_QUEUED_EVENTS = 100


@dataclass(slots=True)
class Delivery:
    """
    An event on its way through a group.

    Attributes:
        event: The event.
        key: Its number or position in the source; of a replayed event, in the stream
            of parked ones.
        previous_key: The key of the event before it in the group; None for the first.
        sequence: Counts the group's new events, for checkpoints.
        is_replayed: Whether it was parked before.
        retry_count: How often it was handed out before.
        consumer: Who has it now.
        expires_at: When it is taken back, by the group's clock.
    """

    event: ResolvedEvent
    key: int
    previous_key: int | None = None
    sequence: int = 0
    is_replayed: bool = False
    retry_count: int = 0
    consumer: Consumer | None = None
    expires_at: float = 0.0

    @property
    def id(self) -> bytes:
        return self.event.original.id

    @property
    def order(self) -> tuple[bool, int]:
        return self.is_replayed, self.key


class Consumer:
    """
    One call that reads a group.

    The group puts events into its queue, the call's thread takes them out. No more
    than *buffer_size* events are with a consumer, and only some of them in the queue,
    so a consumer that does not read takes little memory however large its buffer is.

    Args:
        buffer_size: How many events it takes before it acknowledges one.
        name: The name of the client's connection.
        peer: The client's address.
        user: The name of the client's user.
    """

    def __init__(
        self, buffer_size: int, name: str = "", peer: str = "", user: str = ""
    ) -> None:
        self.number = next(_numbers)
        self.buffer_size = buffer_size
        self.name = name
        self.peer = peer
        self.user = user
        self.in_flight: dict[bytes, Delivery] = {}
        self.total_items = 0
        self._queue: SimpleQueue[Delivery | Exception | None] = SimpleQueue()

    @property
    def has_room(self) -> bool:
        return (
            len(self.in_flight) < self.buffer_size
            and self._queue.qsize() < _MAX_QUEUED_EVENTS
        )

    def deliver(self, delivery: Delivery) -> None:
        """Hand over an event."""
        self.in_flight[delivery.id] = delivery
        self.total_items += 1
        # A copy: the group still changes its own.
        self._queue.put(Delivery(delivery.event, 0, retry_count=delivery.retry_count))

    def end(self, error: Exception | None = None) -> None:
        """Let `take` raise *error*, or return nothing, after what is queued."""
        self._queue.put(error)

    def take(self) -> list[Delivery]:
        """
        Take all that is queued; blocks until there is something.

        Returns:
            At least one delivery; none at the end.
        """
        taken: list[Delivery] = []
        try:
            item = self._queue.get()
            while isinstance(item, Delivery):
                taken.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return taken
        if taken:
            # The end comes after what was queued before it.
            self._queue.put(item)
            return taken
        if item is not None:
            raise item
        return taken


class Strategy:
    """
    Chooses the consumer of an event.

    The base class fills the first consumer, then the next.
    """

    # Whether an event without a consumer holds up those behind it.
    keeps_order = True

    def choose(self, consumers: list[Consumer], delivery: Delivery) -> Consumer | None:
        """Choose a consumer that has room; None when none can take the event now."""
        return _first_with_room(consumers)


class RoundRobin(Strategy):
    """Takes turns."""

    def __init__(self) -> None:
        self._last = -1

    def choose(self, consumers: list[Consumer], delivery: Delivery) -> Consumer | None:
        later = [one for one in consumers if one.number > self._last]
        earlier = [one for one in consumers if one.number <= self._last]
        chosen = _first_with_room([*later, *earlier])
        if chosen is not None:
            self._last = chosen.number
        return chosen


class Pinned(Strategy):
    """
    Gives all events with the same source to the same consumer.

    A consumer that comes or goes changes the consumer of its own share only.
    """

    keeps_order = False

    def choose(self, consumers: list[Consumer], delivery: Delivery) -> Consumer | None:
        source = self.source_of(delivery).encode("utf-8", "replace")
        pinned = max(
            consumers, key=lambda one: zlib.crc32(source, one.number), default=None
        )
        return pinned if pinned is not None and pinned.has_room else None

    def source_of(self, delivery: Delivery) -> str:
        """Tell what decides on the consumer: here the event's stream."""
        return (delivery.event.event or delivery.event.original).stream


class PinnedByCorrelation(Pinned):
    """Gives all events with the same correlation id to the same consumer."""

    def source_of(self, delivery: Delivery) -> str:
        record = delivery.event.event or delivery.event.original
        try:
            metadata: Any = json.loads(record.custom_metadata)
        except (ValueError, RecursionError):
            metadata = None
        if isinstance(metadata, dict) and "$correlationId" in metadata:
            return str(metadata["$correlationId"])
        return record.stream


_STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "DispatchToSingle": Strategy,
    "RoundRobin": RoundRobin,
    "Pinned": Pinned,
    "PinnedByCorrelation": PinnedByCorrelation,
}


def make_strategy(name: str) -> Strategy:
    """Make the strategy of this name."""
    return _STRATEGIES[name]()


def _first_with_room(consumers: Iterable[Consumer]) -> Consumer | None:
    return next((one for one in consumers if one.has_room), None)
