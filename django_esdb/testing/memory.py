"""
The persistence module of tests that need no server: ``django_esdb.testing.memory``.

It is the library's own, in this process's memory, but all applications of a name have
the same events: one that a page has made, one of the test and one of a runner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast

from eventsourcing import popo
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactoryError,
    ProcessRecorder,
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


class Factory(popo.POPOFactory):
    """Makes what the library's own does, once for each name of an application."""

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Return where snapshots are kept."""
        return self._recorder(purpose, super().aggregate_recorder)

    def application_recorder(self) -> ApplicationRecorder:
        """Return where the application's events are kept."""
        return self._recorder("application", super().application_recorder)

    def process_recorder(self) -> ProcessRecorder:
        """Return where the events and positions of a process are kept."""
        return self._recorder("process", super().process_recorder)

    def _recorder(self, purpose: str, make: Callable[[], TRecorder]) -> TRecorder:
        return MemoryEventStore.current().recorder(self.env.name, purpose, make)
