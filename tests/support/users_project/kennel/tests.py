from __future__ import annotations

from datetime import datetime
from typing import assert_type
from uuid import uuid4

from django.test import TestCase

from django_esdb import get_application
from django_esdb.testing import (
    EventFactory,
    FixedClockMixin,
    MemoryEventStoreMixin,
    assert_projection_complete,
    given,
    numbered_id,
    project,
    recorded_events,
)
from eventsourcing_eventstoredb import EventStoreDBFactory, __version__
from eventsourcing_eventstoredb.server import EmbeddedServer
from kennel.domain import Dog, Kennel
from kennel.models import KennelDog
from kennel.projections import KennelProjection


class KennelTests(FixedClockMixin, MemoryEventStoreMixin, TestCase):
    def test_dogs_are_registered(self) -> None:
        kennel = get_application(Kennel)
        assert_type(kennel, Kennel)
        kennel.register("Fido")
        assert_type(self.clock.advance(60), datetime)

        project(KennelProjection)

        self.assertEqual(KennelDog.objects.get().name, "Fido")
        (registered,) = recorded_events(Kennel)
        self.assertIsInstance(registered, Dog.Registered)

    def test_tricks_are_counted(self) -> None:
        fido = EventFactory(Dog, id=numbered_id(1))

        given(fido.Registered(name="Fido"), projection=KennelProjection).when(
            fido.TrickAdded(trick="sit")
        ).then({KennelDog: [{"name": "Fido", "tricks": 1}]})

    def test_nothing_is_left_out(self) -> None:
        assert_projection_complete(KennelProjection, Dog)


class StoreTests(TestCase):
    def test_a_factory_and_a_server(self) -> None:
        version: str = __version__
        self.assertTrue(version)
        with EmbeddedServer() as server:
            assert_type(server.uri, str)
            factory = EventStoreDBFactory(
                {
                    "EVENTSTOREDB_URI": server.uri,
                    "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
                }
            )
            recorder = factory.application_recorder()
            self.assertEqual(list(recorder.select_events(uuid4())), [])
            self.assertIsNone(recorder.max_notification_id())
            factory.close()
