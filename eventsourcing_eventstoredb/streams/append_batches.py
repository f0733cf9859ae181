"""How many events of a stream that are there already go in one append."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

# EventStoreDB takes 1 MiB in one append; a larger event goes alone.
_MOST_BYTES = 512 * 1024
_MOST_EVENTS = 500


class Appendable(Protocol):
    """An event that has its place in a stream."""

    @property
    def stream(self) -> str:
        """The stream's name."""

    @property
    def size(self) -> int:
        """Bytes that it takes in an append, approximately."""


T = TypeVar("T", bound=Appendable)


class AppendBatch(Generic[T]):
    """
    Events of one stream that go in one append.

    Attributes:
        events: Those that were added, in their order.
    """

    def __init__(self) -> None:
        self.events: list[T] = []
        self._bytes = 0

    def has_room(self, event: T) -> bool:
        """Tell whether an event can go with these; any can go alone."""
        return not self.events or (
            event.stream == self.events[0].stream
            and len(self.events) < _MOST_EVENTS
            and self._bytes + event.size <= _MOST_BYTES
        )

    def add(self, event: T) -> None:
        """Add an event for which there is room."""
        self.events.append(event)
        self._bytes += event.size


def append_batches(events: Iterable[T]) -> Iterator[list[T]]:
    """Yield events as they go in appends, in their order."""
    batch: AppendBatch[T] = AppendBatch()
    for event in events:
        if not batch.has_room(event):
            yield batch.events
            batch = AppendBatch()
        batch.add(event)
    if batch.events:
        yield batch.events
