"""The library's own test case for infrastructure factories."""

from __future__ import annotations

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.tests.persistence import InfrastructureFactoryTestCase
from eventsourcing.utils import Environment

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
    EventStoreDBApplicationRecorder,
)


class TestFactory(InfrastructureFactoryTestCase):
    def setUp(self) -> None:
        self.env = Environment(
            "TestCase",
            {
                "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
                # With one host nothing is sent before something is recorded.
                "EVENTSTOREDB_URI": "esdb://localhost:2113?Tls=false",
            },
        )
        super().setUp()

    def expected_factory_class(self) -> type[EventStoreDBFactory]:
        return EventStoreDBFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return EventStoreDBAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return EventStoreDBApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        raise NotImplementedError

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        raise NotImplementedError

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        raise NotImplementedError

    def test_create_tracking_recorder(self) -> None:
        """EventStoreDB keeps no tracking records; the error says what to do."""
        for tracking_recorder_class in (None, POPOTrackingRecorder):
            with pytest.raises(NotImplementedError, match=r"django_esdb\.persistence"):
                self.factory.tracking_recorder(tracking_recorder_class)

    def test_create_process_recorder(self) -> None:
        """EventStoreDB keeps no tracking records; the error says what to do."""
        with pytest.raises(NotImplementedError, match=r"django_esdb\.persistence"):
            self.factory.process_recorder()


del InfrastructureFactoryTestCase
