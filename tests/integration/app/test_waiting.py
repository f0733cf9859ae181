from __future__ import annotations

import threading

import pytest
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import NotRegisteredError
from django_esdb.registry import Registration, registry
from django_esdb.runner import Supervisor
from django_esdb.waiting import wait_for
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection

pytestmark = pytest.mark.django_db(transaction=True)


class Unprojected(DogAggregate.Event):
    """An event that is none of the projection's topics."""


def test_what_is_processed_is_seen(
    school: TrainingSchool, school_projection: Registration
) -> None:
    supervisor = Supervisor(school_projection)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        for name in ("Fido", "Rex"):
            recordings = school.save(DogAggregate(name))
            assert wait_for(TrainingSchoolProjection, recordings, timeout=30)
            assert Dog.objects.filter(name=name).exists()
    finally:
        supervisor.stop()
        thread.join()


def test_several_events_of_which_the_last_is_not_projected(
    school: TrainingSchool, school_projection: Registration
) -> None:
    supervisor = Supervisor(school_projection)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        dog = DogAggregate("Fido")
        dog.trigger_event(Unprojected)
        assert wait_for("TrainingSchoolProjection", school.save(dog), timeout=30)
        assert Dog.objects.get().name == "Fido"
    finally:
        supervisor.stop()
        thread.join()


def test_time_that_is_over_is_no_error(
    school: TrainingSchool, school_projection: Registration
) -> None:
    recordings = school.save(DogAggregate("Fido"))

    assert not wait_for(TrainingSchoolProjection, recordings, timeout=0.01)


def test_other_topics_need_no_waiting(
    school: TrainingSchool, school_projection: Registration
) -> None:
    dog = DogAggregate("Fido")
    school.save(dog)
    dog.trigger_event(Unprojected)

    assert wait_for(TrainingSchoolProjection, school.save(dog), timeout=0)
    assert wait_for(TrainingSchoolProjection, [], timeout=0)


def test_wrong_projections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRegisteredError):
        wait_for("Nobody", [])

    class InMemory(TrainingSchoolProjection):
        pass

    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    registry.register(
        InMemory, application_class=TrainingSchool, view_class=POPOTrackingRecorder
    )
    with pytest.raises(TypeError, match="not in the database"):
        wait_for(InMemory, [])
