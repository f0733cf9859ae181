from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.test import TestCase
from eventsourcing.application import Application
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb import get_application, wait_for
from django_esdb.exceptions import (
    EventProcessingError,
    NotRegisteredError,
    OtherStoreError,
    UndecodableEventError,
)
from django_esdb.testing import (
    EventFactory,
    MemoryEventStoreMixin,
    embedded_event_store,
    memory_event_store,
    project,
)
from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)

pytestmark = pytest.mark.django_db


class Names(TrainingSchoolProjection):
    topics = TrainingSchoolProjection.topics[:2]


class Failing(TrainingSchoolProjection):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise ValueError("no dogs")


def dogs() -> dict[str, list[str]]:
    return {dog.name: dog.tricks for dog in Dog.objects.all()}


@pytest.mark.parametrize("size", [None, 1, 2])
def test_events_aggregates_and_recordings_are_projected(size: int | None) -> None:
    fido = EventFactory(domain.Dog)
    rex = domain.Dog("Rex")
    rex.add_trick("roll over")

    view = project(TrainingSchoolProjection, [fido.Registered(name="Fido"), rex])
    project(TrainingSchoolProjection, [fido.TrickAdded(trick="sit")], batch_size=size)
    with memory_event_store():
        recordings = get_application(TrainingSchool).save(domain.Dog("Spot"))
    project(TrainingSchoolProjection, recordings, batch_size=size)

    assert dogs() == {"Fido": ["sit"], "Rex": ["roll over"], "Spot": []}
    assert isinstance(view, TrainingSchoolView)
    assert view.max_tracking_id(TrainingSchool.name) == 5
    # What it has processed is not taken from an aggregate.
    assert len(rex.pending_events) == 2


def test_events_of_other_topics_are_left_out() -> None:
    project(
        Names,
        [domain.Dog("Rex"), EventFactory(domain.Dog).TrickAdded()],
        application_class=TrainingSchool,
        view_class=TrainingSchoolView,
    )

    assert dogs() == {"Rex": []}


@pytest.mark.any_database
def test_what_was_recorded_is_projected_on() -> None:
    for store in (memory_event_store, embedded_event_store):
        with store():
            school = get_application(TrainingSchool)
            school.register("Fido")
            project(TrainingSchoolProjection, batch_size=1)
            assert dogs() == {"Fido": []}
            school.add_trick("Fido", "sit")
            last = school.add_trick("Fido", "roll over")
            project(TrainingSchoolProjection, batch_size=1)
            assert dogs() == {"Fido": ["sit", "roll over"]}
            assert wait_for(TrainingSchoolProjection, last)
        with store():
            for name in "ABC":
                get_application(TrainingSchool).register(name)
            with pytest.raises(OtherStoreError):
                project(TrainingSchoolProjection)
        Dog.objects.all().delete()
        TrainingSchoolView(TrainingSchoolProjection.name).tracked(
            TrainingSchool.name
        ).queryset().delete()


def test_a_handlers_error_is_the_cause() -> None:
    with pytest.raises(EventProcessingError) as raised:
        project(
            Failing,
            [domain.Dog("Rex")],
            application_class=TrainingSchool,
            view_class=TrainingSchoolView,
        )

    assert str(raised.value.__cause__) == "no dogs"
    # The test's transaction can be used on.
    assert dogs() == {}


class Stranger(domain.Aggregate):
    INITIAL_VERSION = 0


def test_an_event_that_is_not_allowed_is_not_decoded() -> None:
    class All(TrainingSchoolProjection):
        topics = ()

    with pytest.raises(UndecodableEventError, match="ESDB_TOPIC_ALLOWLIST"):
        project(
            All,
            [Stranger()],
            application_class=TrainingSchool,
            view_class=TrainingSchoolView,
        )


def test_a_projection_that_is_not_registered_needs_its_classes() -> None:
    with pytest.raises(NotRegisteredError, match="Names"):
        project(Names, [])


class InMemory(POPOTrackingRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self.names.append(name)


def test_a_view_in_memory_can_take_the_place() -> None:
    view = project(TrainingSchoolProjection, [domain.Dog("Rex")], view_class=InMemory)

    assert view.names == ["Rex"]


class TestInATestCase(MemoryEventStoreMixin, TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        project(TrainingSchoolProjection, [domain.Dog("Fido")])

    def test_what_is_projected_is_undone(self) -> None:
        assert dogs() == {"Fido": []}
        project(TrainingSchoolProjection, [domain.Dog("Rex")])
        assert dogs() == {"Fido": [], "Rex": []}

    test_also_before_another_test = test_what_is_projected_is_undone


def test_an_application_of_any_kind_encodes() -> None:
    class OtherSchool(Application):  # type: ignore[type-arg]
        name = TrainingSchool.name

    project(
        TrainingSchoolProjection, [domain.Dog("Rex")], application_class=OtherSchool
    )

    assert dogs() == {"Rex": []}
