"""
The persistence module of tests that need no server: ``django_esdb.testing.memory``.

It is the library's own, in this process's memory, but all applications of a name have
the same events: one that a page has made, one of the test and one of a runner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast
from uuid import uuid4

from eventsourcing import popo
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactoryError,
    Notification,
    ProcessRecorder,
    StoredEvent,
)

from django_esdb.conf import EVENT_METADATA
from eventsourcing_eventstoredb.metadata import (
    MetadataProvider,
    collected,
    encoded,
    provider_named,
)

TRecorder = TypeVar("TRecorder")


class MemoryEventStore:
    """Events and snapshots in memory, of applications by their names."""

    _current: ClassVar[list[MemoryEventStore]] = []

    def __init__(self) -> None:
        self._recorders: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @contextmanager
    def in_use(self) -> Iterator[MemoryEventStore]:
        """Have applications that are made in the block, by any thread, use it."""
        self._current.append(self)
        try:
            yield self
        finally:
            self._current.remove(self)

    @classmethod
    def current(cls) -> MemoryEventStore:
        """
        Return the one in use.

        Raises:
            InfrastructureFactoryError: There is none.
        """
        if not cls._current:
            msg = f"{__name__} has events within memory_event_store() only"
            raise InfrastructureFactoryError(msg)
        return cls._current[-1]

    def recorder(
        self, application: str, purpose: str, make: Callable[[], TRecorder]
    ) -> TRecorder:
        """Return what keeps an application's events, or what else is its purpose."""
        with self._lock:
            key = (application, purpose)
            if key not in self._recorders:
                self._recorders[key] = make()
            return cast("TRecorder", self._recorders[key])


class MemoryApplicationRecorder(popo.POPOApplicationRecorder):
    """
    Keeps events in memory with their metadata and IDs, as EventStoreDB does.

    Attributes:
        metadata_provider: Called for each save, adds to the metadata; None if there is
            none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.metadata_provider: MetadataProvider | None = None
        self._attributes: dict[tuple[Any, int], dict[str, Any]] = {}
        self._saving = threading.Lock()

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Insert events, as the library's own does, and keep what is said of them."""
        said = collected(self.metadata_provider)
        # Raises an error if it is too much.
        encoded(said)
        new = {
            (each.originator_id, each.originator_version): {
                "event_id": str(uuid4()),
                "metadata": said,
            }
            for each in stored_events
        }
        # There before the events are, of which subscriptions get to know at once.
        with self._saving:
            own = new.keys() - self._attributes.keys()
            self._attributes.update((key, new[key]) for key in own)
            try:
                return super().insert_events(stored_events, **kwargs)
            except BaseException:
                for key in own:
                    del self._attributes[key]
                raise

    def select_notifications(self, *args: Any, **kwargs: Any) -> list[Notification]:
        """Return notifications that have ``metadata`` and ``event_id``."""
        found = list(super().select_notifications(*args, **kwargs))
        for each in found:
            key = (each.originator_id, each.originator_version)
            attributes = self._attributes.get(key, {})
            vars(each).update(
                {**attributes, "metadata": {**attributes.get("metadata", {})}}
            )
        return found


class Factory(popo.POPOFactory):
    """Makes what the library's own does, once for each name of an application."""

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Return where snapshots are kept."""
        return self._recorder(purpose, super().aggregate_recorder)

    def application_recorder(self) -> ApplicationRecorder:
        """Return where the application's events are kept."""
        recorder = self._recorder("application", MemoryApplicationRecorder)
        name = self.env.get(EVENT_METADATA)
        try:
            recorder.metadata_provider = provider_named(name) if name else None
        except ValueError as error:
            msg = f"{EVENT_METADATA} cannot be used: {error}"
            raise InfrastructureFactoryError(msg) from error
        return recorder

    def process_recorder(self) -> ProcessRecorder:
        """Return where the events and positions of a process are kept."""
        return self._recorder("process", super().process_recorder)

    def _recorder(self, purpose: str, make: Callable[[], TRecorder]) -> TRecorder:
        return MemoryEventStore.current().recorder(self.env.name, purpose, make)
