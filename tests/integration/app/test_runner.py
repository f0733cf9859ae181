from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from eventsourcing.persistence import Tracking
from eventsourcing.projection import ProjectionRunner as LibraryRunner

from django_esdb import signals
from django_esdb.exceptions import (
    EventProcessingError,
    ProjectionError,
    UndecodableEventError,
)
from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner import Options, ProjectionRunner, Worker
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.event_stores import EventStore
from tests.support.stores import append
from tests.support.supervising import catch_up, running

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def position() -> int | None:
    return ProjectionTracking.objects.values_list("position", flat=True).first()


def test_events_become_rows(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    last = school.add_trick("Fido", "roll over")

    catch_up(school_projection)

    dog = Dog.objects.get()
    assert (dog.id, dog.name) == (DogAggregate.create_id("Fido"), "Fido")
    assert dog.tricks == ["roll over"]
    counts = SchoolCounts.objects.get()
    assert (counts.dogs, counts.tricks) == (1, 1)
    assert position() >= last


def test_a_second_run_continues_where_the_first_ended(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    catch_up(school_projection)
    school.register("Rex")
    catch_up(school_projection)

    assert SchoolCounts.objects.get().dogs == 2
    assert {dog.name for dog in Dog.objects.all()} == {"Fido", "Rex"}


@pytest.mark.any_database
def test_an_empty_store_is_caught_up_at_once(
    school: TrainingSchool, school_projection: Registration
) -> None:
    catch_up(school_projection)

    assert position() is None


def test_live_events_are_seen_by_who_waits(
    school: TrainingSchool, school_projection: Registration
) -> None:
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection):
        for name in ("Fido", "Rex", "Bella"):
            view.wait(school.name, school.register(name), timeout=10)
            assert Dog.objects.filter(name=name).exists()


@pytest.mark.any_database
def test_events_of_others_are_passed_over(
    school: TrainingSchool, school_projection: Registration, server: EmbeddedServer
) -> None:
    append(server, "not-a-uuid", "other:Event", b"{}")
    school.register("Fido")
    append(server, str(DogAggregate.create_id("Other")), "other:Event", b"{}")

    catch_up(school_projection)

    assert Dog.objects.get().name == "Fido"


def test_position_moves_with_events_that_change_nothing(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Indifferent(TrainingSchoolProjection):
        topics = ()

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            pass

    last = school.register("Fido")

    catch_up(registration(projection_class=Indifferent))

    assert position() >= last


@pytest.mark.parametrize(
    ("topic", "data", "reason"),
    [
        ("gone:Dog.Registered", b"{}", "Failed to resolve topic"),
        (
            "example_project.training_school.domain:Dog.Unknown",
            b"{}",
            "Failed to resolve topic",
        ),
        ("eventsourcing.domain:Snapshot", b"\xff\x00", "Failed to deserialise"),
    ],
    ids=["no such module", "no such class", "no JSON"],
)
def test_an_undecodable_event_stops_the_projection_and_is_named(
    school: TrainingSchool,
    registration: MakeRegistration,
    server: EmbeddedServer,
    topic: str,
    data: bytes,
    reason: str,
) -> None:
    class Everything(TrainingSchoolProjection):
        topics = ()

    school.register("Fido")
    before = school.add_trick("Fido", "sit")
    stream = str(DogAggregate.create_id("Broken"))
    there = append(server, stream, topic, data)
    school.register("Rex")

    with pytest.raises(UndecodableEventError) as raised:
        catch_up(registration(projection_class=Everything))

    text = str(raised.value)
    for part in (f"topic {topic!r}", stream, "version 0", f"position {there}", reason):
        assert part in text
    assert "\n" not in text
    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]
    assert before <= position() < there


def test_a_failing_handler_stops_the_projection_and_nothing_is_half_done(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Failing(TrainingSchoolView):
        def add_trick(self, dog_id: Any, trick: str, tracking: Tracking) -> None:
            super().add_trick(dog_id, trick, tracking)
            msg = "two\nlines"
            raise RuntimeError(msg)

    before = school.register("Fido")
    there = school.add_trick("Fido", "sit")

    with pytest.raises(EventProcessingError) as raised:
        catch_up(registration(view_class=Failing))

    text = str(raised.value)
    assert "TrickAdded" in text
    assert f"position {there}" in text
    assert text.endswith("RuntimeError: two lines")
    assert Dog.objects.get().tricks == []
    assert before <= position() < there


def test_a_failing_projection_does_not_stop_another(
    school: TrainingSchool,
    registration: MakeRegistration,
    school_projection: Registration,
) -> None:
    class Failing(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            raise RuntimeError

    school.register("Fido")
    failed: list[str] = []

    def note(*, projection: str, **kwargs: Any) -> None:
        failed.append(projection)

    signals.projection_failed.connect(note)
    errors = Worker(
        [registration(projection_class=Failing), school_projection],
        Options(until_caught_up=True),
    ).run()

    assert [type(error) for error in errors] == [EventProcessingError]
    assert failed == ["Failing"]
    assert Dog.objects.get().name == "Fido"


@pytest.mark.any_database
def test_store_that_is_not_there_is_an_error_at_the_start(
    school_projection: Registration, store: EventStore, settings: Any
) -> None:
    settings.ESDB_URI = store.uri
    store.stop()

    with pytest.raises(ProjectionError, match="cannot run") as raised:
        catch_up(school_projection)

    assert "\n" not in str(raised.value)


@pytest.mark.any_database
def test_a_runner_that_cannot_begin_closes_its_application(
    registration: MakeRegistration, store: EventStore, settings: Any
) -> None:
    made: list[Any] = []
    closed: list[Any] = []

    class Counting(TrainingSchool):
        name = TrainingSchool.name

        def __init__(self, env: Any = None) -> None:
            super().__init__(env)
            made.append(self)

        def close(self) -> None:
            closed.append(self)
            super().close()

    settings.ESDB_URI = store.uri
    store.stop()

    with pytest.raises(ProjectionError, match="cannot run"):
        catch_up(registration(application_class=Counting))

    assert made
    assert set(map(id, closed)) == set(map(id, made))


@pytest.mark.any_database
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_projection_rides_over_a_restart_of_the_store(
    registration: MakeRegistration,
    school_projection: Registration,
    settings: Any,
    store: EventStore,
    ends: Callable[[EventStore], None],
) -> None:
    settings.ESDB_URI = store.uri
    with running(school_projection):
        school = TrainingSchool(registration().env())
        view = TrainingSchoolView(TrainingSchoolProjection.name)
        view.wait(school.name, school.register("Fido"), timeout=10)
        ends(store)
        store.start()
        view.wait(school.name, school.register("Rex"), timeout=20)
        school.close()

    assert SchoolCounts.objects.get().dogs == 2


def test_two_runners_process_each_event_once(
    school: TrainingSchool, school_projection: Registration
) -> None:
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection), running(school_projection):
        for number in range(30):
            last = school.register(f"dog {number}")
        view.wait(school.name, last, timeout=30)

    assert SchoolCounts.objects.get().dogs == 30
    assert Dog.objects.count() == 30


@pytest.mark.any_database
def test_runner_is_the_librarys_with_its_interface(
    school: TrainingSchool, school_projection: Registration
) -> None:
    with ProjectionRunner(
        application_class=TrainingSchool,
        projection_class=TrainingSchoolProjection,
        view_class=TrainingSchoolView,
        env=school_projection.env(),
    ) as runner:
        assert isinstance(runner, LibraryRunner)
        runner.wait(school.register("Fido"), timeout=10)
        assert runner.projection.view is runner.view

    assert Dog.objects.get().name == "Fido"


def test_the_librarys_own_runner_runs_an_orm_view(
    school: TrainingSchool, school_projection: Registration
) -> None:
    class Closing(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            # The library's runner knows nothing of Django's connections.
            connection.close()

    with LibraryRunner(
        application_class=TrainingSchool,
        projection_class=Closing,
        view_class=TrainingSchoolView,
        env=school_projection.env(),
    ) as runner:
        runner.wait(school.register("Fido"), timeout=10)

    assert Dog.objects.get().name == "Fido"
