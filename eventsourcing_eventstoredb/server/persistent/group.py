"""
One group: from its source, through its consumers, to its checkpoint.

Every method may be called from any thread and holds the group's lock. The lock is
taken before the log's, never the other way round.
"""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.persistent import progress
from eventsourcing_eventstoredb.server.persistent.consumers import (
    Consumer,
    Delivery,
    make_strategy,
)
from eventsourcing_eventstoredb.server.persistent.errors import (
    GroupDroppedError,
    TooManyConsumersError,
)
from eventsourcing_eventstoredb.server.persistent.settings import GroupSettings
from eventsourcing_eventstoredb.server.persistent.source import Source
from eventsourcing_eventstoredb.server.storage.records import Record

_DEFAULT_BUFFER_EVENTS: Final = 500


class Group:
    """
    A group of consumers.

    Args:
        settings: What it reads and how it behaves.
        reader: Reads the source.
        writer: Writes checkpoints and parked events.
        clock: Tells the time in seconds, for time-outs.

    Attributes:
        total_items: How many events it has handed out since it was loaded.
        last_known: Key of the latest new event that it has read.
        last_checkpoint: Key up to which it is known to be through.
    """

    def __init__(
        self,
        settings: GroupSettings,
        reader: Reader,
        writer: Writer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.consumers: list[Consumer] = []
        self.total_items = 0
        self.last_known: int | None = None
        self.last_checkpoint = progress.load_checkpoint(reader, settings)
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._lock = threading.RLock()
        self._strategy = make_strategy(settings.strategy)
        checkpoint = self.last_checkpoint
        begin = settings.begin if checkpoint is None else checkpoint + 1
        self._source = Source(reader, settings, begin)
        self._is_dropped = False
        self._last_read: int | None = None
        self._sequence = 0
        self._checkpoint_sequence = 0
        # The first tick may write one at once.
        self._checkpoint_due = 0.0 if settings.checkpoint_after_ms else math.inf
        self._buffer: deque[Delivery] = deque()
        self._retries: list[Delivery] = []
        self._outstanding: dict[bytes, Delivery] = {}

    # -- consumers -----------------------------------------------------------------

    def join(self, consumer: Consumer) -> None:
        """
        Give events to *consumer* from now on.

        Raises:
            TooManyConsumersError: The group has as many as it may have.
        """
        settings = self.settings
        with self._lock:
            if 0 < settings.max_subscriber_count <= len(self.consumers):
                raise TooManyConsumersError(settings.source, settings.group)
            self.consumers.append(consumer)

    def leave(self, consumer: Consumer) -> None:
        """Give what *consumer* has not acknowledged to others."""
        with self._lock:
            if consumer not in self.consumers:
                return
            self.consumers.remove(consumer)
            for delivery in list(consumer.in_flight.values()):
                self._take_back(delivery)
                # Counted, yet never parked: the event is not to blame.
                self._hand_out_again(delivery)
            self.push()

    def drop(self) -> None:
        """End the calls of all consumers, and write nothing any more."""
        with self._lock:
            self._is_dropped = True
            for consumer in self.consumers:
                consumer.end(
                    GroupDroppedError(self.settings.source, self.settings.group)
                )
            self.consumers.clear()

    def acknowledge(self, ids: Iterable[bytes]) -> None:
        """Take events as processed; unknown ids are passed over."""
        with self._lock:
            for event_id in ids:
                delivery = self._outstanding.get(event_id)
                if delivery is not None:
                    self._take_back(delivery)
            self._mark_checkpoint(self.settings.max_checkpoint_count)
            self.push()

    def retry(self, ids: Iterable[bytes]) -> None:
        """Hand events out again, or park those that came back too often."""
        with self._lock:
            for event_id in ids:
                delivery = self._outstanding.get(event_id)
                if delivery is not None:
                    self._take_back(delivery)
                    self._retry(delivery)
            self._mark_checkpoint(self.settings.max_checkpoint_count)
            self.push()

    def park(self, ids: Iterable[bytes], reason: str) -> None:
        """Set events aside."""
        with self._lock:
            for event_id in ids:
                delivery = self._outstanding.get(event_id)
                if delivery is not None:
                    self._take_back(delivery)
                    self._park(delivery, f"Client explicitly NAK'ed message.\n{reason}")
            self._mark_checkpoint(self.settings.max_checkpoint_count)
            self.push()

    def replay_parked(self, stop_at: int | None) -> None:
        """Hand parked events out again; see `progress.take_parked`."""
        with self._lock:
            parked = progress.take_parked(
                self._reader, self._writer, self.settings, stop_at
            )
            for event in parked:
                key = event.original.number
                self._add_retry(Delivery(event, key, is_replayed=True))
            self.push()

    # -- the clock -----------------------------------------------------------------

    def tick(self) -> None:
        """
        Take back what was not acknowledged in time, and write a checkpoint when due.
        """
        now = self._clock()
        with self._lock:
            expired = [
                delivery
                for delivery in self._outstanding.values()
                if delivery.expires_at <= now
            ]
            for delivery in expired:
                self._take_back(delivery)
                self._retry(delivery)
            if now >= self._checkpoint_due:
                self._mark_checkpoint(max(self.settings.min_checkpoint_count, 1))
            self.push()

    # -- the way of an event -------------------------------------------------------

    def push(self) -> None:
        """Hand out whatever consumers have room for: retries first, then new events."""
        with self._lock:
            if not any(consumer.has_room for consumer in self.consumers):
                return
            self._retries = [one for one in self._retries if not self._hand_out(one)]
            while self._fill_buffer():
                before = len(self._buffer)
                self._hand_out_buffer()
                if len(self._buffer) == before:
                    return

    def _hand_out_buffer(self) -> None:
        kept: deque[Delivery] = deque()
        while self._buffer:
            delivery = self._buffer.popleft()
            if not self._hand_out(delivery):
                kept.append(delivery)
                if self._strategy.keeps_order or not self._has_room():
                    break
        self._buffer.extendleft(reversed(kept))

    def _has_room(self) -> bool:
        return any(consumer.has_room for consumer in self.consumers)

    def _hand_out(self, delivery: Delivery) -> bool:
        """Hand an event to a consumer; tell whether it is done with for now."""
        if delivery.id in self._outstanding:
            # The same event twice at once could not be told apart by its id.
            return True
        consumer = self._strategy.choose(self.consumers, delivery)
        if consumer is None:
            return False
        delivery.consumer = consumer
        delivery.expires_at = self._clock() + self.settings.message_timeout_ms / 1000
        self._outstanding[delivery.id] = delivery
        self.total_items += 1
        consumer.deliver(delivery)
        return True

    def _fill_buffer(self) -> bool:
        """
        Read new events into an empty buffer; tell whether there is anything in it.
        """
        if not self._buffer:
            # One page at most, whatever the size: its memory is limited.
            size = self.settings.history_buffer_size
            page = self._source.read(size if size > 0 else _DEFAULT_BUFFER_EVENTS)
            self._buffer.extend(self._new_delivery(record) for record in page)
        return bool(self._buffer)

    def _new_delivery(self, record: Record) -> Delivery:
        key = self._source.key(record)
        self._sequence += 1
        delivery = Delivery(
            event=self._source.resolve(record),
            key=key,
            previous_key=self._last_read,
            sequence=self._sequence,
        )
        self._last_read = self.last_known = key
        return delivery

    def _take_back(self, delivery: Delivery) -> None:
        self._outstanding.pop(delivery.id, None)
        if delivery.consumer is not None:
            delivery.consumer.in_flight.pop(delivery.id, None)
            delivery.consumer = None

    def _retry(self, delivery: Delivery) -> None:
        if delivery.retry_count >= self.settings.max_retry_count:
            self._park(
                delivery, f"Reached retry count of {self.settings.max_retry_count}"
            )
            return
        self._hand_out_again(delivery)

    def _hand_out_again(self, delivery: Delivery) -> None:
        delivery.retry_count += 1
        self._add_retry(delivery)

    def _add_retry(self, delivery: Delivery) -> None:
        bisect.insort(self._retries, delivery, key=lambda one: one.order)

    def _park(self, delivery: Delivery, reason: str) -> None:
        if not self._is_dropped:
            progress.park(self._writer, self.settings, delivery.event, reason)

    # -- checkpoints ---------------------------------------------------------------

    def _mark_checkpoint(self, least_events: int) -> None:
        """
        Write a checkpoint when at least so many events are through since the last.
        """
        if self._is_dropped or self._sequence - self._checkpoint_sequence < (
            least_events
        ):
            return
        waiting = [*self._retries, *itertools.islice(self._buffer, 1)]
        unfinished = [
            one
            for one in (*self._outstanding.values(), *waiting)
            if not one.is_replayed
        ]
        if unfinished:
            first = min(unfinished, key=lambda one: one.key)
            key, sequence = first.previous_key, first.sequence - 1
        else:
            key, sequence = self._last_read, self._sequence
        done = sequence - self._checkpoint_sequence
        if key is None or done <= 0 or done < least_events:
            return
        progress.write_checkpoint(self._writer, self.settings, key)
        self.last_checkpoint, self._checkpoint_sequence = key, sequence
        after_ms = self.settings.checkpoint_after_ms
        self._checkpoint_due = self._clock() + after_ms / 1000 if after_ms else math.inf

    # -- what can be told of it ----------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether it has read all that its source has."""
        return self._source.is_exhausted

    @property
    def buffered_count(self) -> int:
        with self._lock:
            self._fill_buffer()
            return len(self._buffer)

    @property
    def retry_count(self) -> int:
        return len(self._retries)

    @property
    def outstanding_count(self) -> int:
        return len(self._outstanding)

    @property
    def parked_count(self) -> int:
        return progress.count_parked(self._reader, self.settings)
