from __future__ import annotations

import os
import unittest
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.test import SimpleTestCase, TransactionTestCase
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    IntegrityError,
)

from django_esdb import event_metadata, get_application
from django_esdb.applications.shared import make_application
from django_esdb.testing import (
    EmbeddedEventStoreMixin,
    FixedClockMixin,
    FixedIdsMixin,
    MemoryEventStore,
    MemoryEventStoreMixin,
    embedded_event_store,
    memory_event_store,
    numbered_id,
    recorded_events,
)
from eventsourcing_eventstoredb.metadata import (
    CAUSATION_ID,
    CORRELATION_ID,
    MAX_BYTES,
    handling,
    metadata_of,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow

NOWHERE = "esdb://127.0.0.1:1?Tls=false"


class Photos(Application):
    """Says itself where its events are, as it does in production."""

    env: ClassVar = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": "x"}


def test_applications_of_a_name_share_what_is_in_memory(
    memory_event_store: MemoryEventStore,
) -> None:
    get_application(TrainingSchool).register("Fido")
    TrainingSchool().add_trick("Fido", "sit")

    assert TrainingSchool().get_dog_details("Fido")["tricks"] == ("sit",)
    assert list(map(type, recorded_events(TrainingSchool))) == [
        Dog.Registered,
        Dog.TrickAdded,
    ]
    assert recorded_events(Photos) == []
    with pytest.raises(IntegrityError):
        TrainingSchool().register("Fido")


def provided() -> dict[str, str]:
    return {"release": "1.0"}


def test_what_is_in_memory_has_metadata(
    memory_event_store: MemoryEventStore, settings: Any
) -> None:
    with event_metadata(user="7"):
        get_application(TrainingSchool).register("Fido")
    with event_metadata(user="8"), pytest.raises(IntegrityError):
        get_application(TrainingSchool).register("Fido")
    settings.ESDB_EVENT_METADATA = f"{__name__}.provided"
    school = get_application(TrainingSchool)
    first = school.recorder.select_notifications(None, 9)[0]
    with handling(first):
        school.register("Rex")

    notifications = school.recorder.select_notifications(None, 9)
    event_id = vars(first)["event_id"]
    assert [metadata_of(each) for each in notifications] == [
        {"user": "7"},
        {"release": "1.0", CORRELATION_ID: event_id, CAUSATION_ID: event_id},
    ]
    with event_metadata(note="x" * MAX_BYTES), pytest.raises(DataError):
        school.register("Max")
    settings.ESDB_EVENT_METADATA = "no.such.function"
    with pytest.raises(InfrastructureFactoryError, match="EVENT_METADATA cannot be"):
        get_application(TrainingSchool)


def test_each_block_begins_with_an_empty_store() -> None:
    for store in (memory_event_store, memory_event_store, embedded_event_store):
        with store():
            assert recorded_events(TrainingSchool) == []
            get_application(TrainingSchool).register("Fido")
            assert len(recorded_events(TrainingSchool)) == 1


def test_snapshots_are_kept_in_memory_too(memory_event_store: MemoryEventStore) -> None:
    env = {"IS_SNAPSHOTTING_ENABLED": "y"}
    school = TrainingSchool(env)
    school.register("Fido")
    school.take_snapshot(Dog.create_id("Fido"))

    snapshots = TrainingSchool(env).snapshots
    assert snapshots is not None
    assert len(list(snapshots.get(Dog.create_id("Fido")))) == 1


@pytest.mark.parametrize("store", [memory_event_store, embedded_event_store])
def test_no_configuration_leads_a_test_elsewhere(
    store: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    settings.ESDB_URI = NOWHERE
    settings.ESDB_ENV = {
        "TRAININGSCHOOL_EVENTSTOREDB_URI": NOWHERE,
        "TRAININGSCHOOL_PERSISTENCE_MODULE": "eventsourcing.postgres",
        "IS_SNAPSHOTTING_ENABLED": "y",
    }
    monkeypatch.setenv("TRAININGSCHOOL_EVENTSTOREDB_URI", NOWHERE)
    monkeypatch.setenv("EVENTSTOREDB_URI", NOWHERE)
    monkeypatch.setenv("TRAININGSCHOOL_PERSISTENCE_MODULE", "eventsourcing.postgres")
    before = dict(os.environ)

    with store():
        get_application(TrainingSchool).register("Fido")
        TrainingSchool().register("Rex")
        assert len(recorded_events(TrainingSchool)) == 2
        for name, photos in (("A", get_application(Photos)), ("B", Photos())):
            photos.save(Dog(name))
        assert [event.name for event in recorded_events(Photos)][-2:] == ["A", "B"]
        # What says other things holds.
        assert get_application(TrainingSchool).snapshots is not None

    assert dict(os.environ) == before
    assert settings.ESDB_URI == NOWHERE
    assert list(tmp_path.iterdir()) == []


def test_more_events_than_a_page_are_told_in_order() -> None:
    for store in (memory_event_store, embedded_event_store):
        with store():
            dog = Dog("Fido")
            for number in range(1100):
                dog.add_trick(str(number))
            get_application(TrainingSchool).save(dog)

            first, *others = recorded_events(TrainingSchool)
            assert first.name == "Fido"
            assert [each.trick for each in others] == list(map(str, range(1100)))


def test_outside_of_a_block_nothing_is_kept_in_memory() -> None:
    env = {"PERSISTENCE_MODULE": "django_esdb.testing.memory"}

    with pytest.raises(InfrastructureFactoryError, match="within memory_event_store"):
        make_application(TrainingSchool, env)


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_commands_use_the_store_in_memory(memory_event_store: MemoryEventStore) -> None:
    get_application(TrainingSchool).register("Fido")

    call_command("runprojections", "--until-caught-up")

    assert DogRow.objects.get().name == "Fido"


class InMemory(FixedClockMixin, FixedIdsMixin, MemoryEventStoreMixin, SimpleTestCase):
    def runTest(self) -> None:
        assert recorded_events(TrainingSchool) == []
        get_application(TrainingSchool).register("Fido")
        (event,) = recorded_events(TrainingSchool)
        assert event.timestamp == self.clock.now
        assert Aggregate().id == numbered_id(1)
        assert isinstance(self.event_store, MemoryEventStore)


class Embedded(EmbeddedEventStoreMixin, TransactionTestCase):
    def runTest(self) -> None:
        assert isinstance(self.event_store, EmbeddedServer)
        get_application(TrainingSchool).register("Fido")
        call_command("runprojections", "--until-caught-up")
        assert DogRow.objects.get().name == "Fido"


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", [InMemory, Embedded])
def test_mixins_give_each_test_a_store(case: type[SimpleTestCase]) -> None:
    for _ in range(2):
        result = unittest.TestResult()
        case()(result)
        assert result.testsRun == 1
        assert result.wasSuccessful(), result.errors + result.failures
