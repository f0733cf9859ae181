"""For ``TestCase`` and ``TransactionTestCase``: what pytest has fixtures for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_esdb.testing.determinism import FixedClock, fixed_clock, fixed_ids
from django_esdb.testing.event_stores import embedded_event_store, memory_event_store
from django_esdb.testing.memory import MemoryEventStore

if TYPE_CHECKING:
    from django.test import SimpleTestCase as _TestCase

    from eventsourcing_eventstoredb.server import EmbeddedServer
else:
    _TestCase = object


class MemoryEventStoreMixin(_TestCase):
    """
    Gives each test an empty event store in memory.

    Attributes:
        event_store: See :func:`memory_event_store`.
    """

    event_store: MemoryEventStore

    def setUp(self) -> None:
        self.event_store = self.enterContext(memory_event_store())
        super().setUp()


class EmbeddedEventStoreMixin(_TestCase):
    """
    Gives each test an empty event store behind a server of its own.

    Attributes:
        event_store: The server; see :func:`embedded_event_store`.
    """

    event_store: EmbeddedServer

    def setUp(self) -> None:
        self.event_store = self.enterContext(embedded_event_store())
        super().setUp()


class FixedClockMixin(_TestCase):
    """
    Lets a clock stand still in each test.

    Attributes:
        clock: See :func:`fixed_clock`.
    """

    clock: FixedClock

    def setUp(self) -> None:
        self.clock = self.enterContext(fixed_clock())
        super().setUp()


class FixedIdsMixin(_TestCase):
    """Numbers the IDs of new aggregates in each test; see :func:`fixed_ids`."""

    def setUp(self) -> None:
        self.enterContext(fixed_ids())
        super().setUp()
