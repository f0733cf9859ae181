"""Projections of events that are not in EventStoreDB."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import ProjectionError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import ProjectionRunner
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Registrations(TrainingSchoolProjection):
    """Wants nothing else, though its view knows tricks."""

    name = TrainingSchoolProjection.name
    topics = TrainingSchoolProjection.topics[:1]


def dogs() -> dict[str, list[str]]:
    return {dog.name: dog.tricks for dog in Dog.objects.all()}


def test_events_become_rows_once(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    catch_up(school_projection)
    assert dogs() == {"Fido": ["sit"]}

    last = school.add_trick("Fido", "roll over")
    catch_up(school_projection)

    assert dogs() == {"Fido": ["sit", "roll over"]}
    assert tracking().position == last
    counts = SchoolCounts.objects.get()
    assert (counts.dogs, counts.tricks) == (1, 2)


def test_live_events_are_seen(
    school: TrainingSchool, school_projection: Registration
) -> None:
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection):
        for number in range(20):
            last = school.register(f"dog {number}")
            if number % 7 == 0:
                view.wait(school.name, last, timeout=60)
        view.wait(school.name, last, timeout=60)

    assert SchoolCounts.objects.get().dogs == 20


def test_more_than_a_batch_is_in_order(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    tricks = [f"trick {number}" for number in range(50)]
    for trick in tricks:
        school.add_trick("Fido", trick)

    with ProjectionRunner(
        application_class=TrainingSchool,
        projection_class=TrainingSchoolProjection,
        view_class=TrainingSchoolView,
        env=school_projection.env(),
        batch_size=7,
    ) as runner:
        last = runner.app.recorder.max_notification_id()
        runner.wait(last, timeout=60)

    assert dogs() == {"Fido": tricks}


@pytest.mark.any_database
def test_a_runner_stops_while_much_is_left(
    school: TrainingSchool, school_projection: Registration
) -> None:
    # More than the library's subscriptions hold at hand. Of many, since lists of
    # thousands of tricks would be written again and again.
    names = [f"dog {number}" for number in range(70)]
    tricks = [str(number) for number in range(99)]
    for name in names:
        dog = DogAggregate(name)
        for trick in tricks:
            dog.add_trick(trick)
        school.save(dog)

    class Slow(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            if tracking.notification_id > 20:
                reached.append(tracking.notification_id)
                stop()

    reached: list[int] = []
    with running(replace(school_projection, projection_class=Slow)) as supervisor:
        stop = supervisor.stop
        wait_until(lambda: reached)

    before = tracking().position
    assert before is not None
    assert before < 7000
    catch_up(school_projection)
    assert dogs() == dict.fromkeys(names, tricks)


def test_only_wanted_topics_are_given(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    for number in range(30):
        school.add_trick("Fido", str(number))
    school.register("Rex")
    school.add_trick("Rex", "sit")

    with running(replace(school_projection, projection_class=Registrations)):
        wait_until(lambda: Dog.objects.count() == 2)
        school.add_trick("Rex", "roll over")
        school.register("Spot")
        wait_until(lambda: Dog.objects.count() == 3)

    assert dogs() == {"Fido": [], "Rex": [], "Spot": []}


def test_positions_move_past_what_is_not_wanted(
    school: TrainingSchool, school_projection: Registration
) -> None:
    view = TrainingSchoolView(Registrations.name)
    school.register("Fido")
    with running(replace(school_projection, projection_class=Registrations)):
        view.wait(school.name, school.add_trick("Fido", "sit"), timeout=60)
        last = school.add_trick("Fido", "roll over")
        view.wait(school.name, last, timeout=60)

    assert tracking().position == last


def test_failing_events_are_parked_and_retried(
    school: TrainingSchool, school_projection: Registration
) -> None:
    class Failing(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            if getattr(domain_event, "trick", None) == "bite":
                raise ValueError("no")
            super().process_event(domain_event, tracking)

    school.register("Fido")
    school.add_trick("Fido", "bite")
    school.add_trick("Fido", "sit")
    school.register("Rex")

    catch_up(
        replace(school_projection, projection_class=Failing, on_failure=OnFailure.PARK)
    )

    assert dogs() == {"Fido": [], "Rex": []}
    assert FailedEvent.objects.count() == 2
    assert retry_failed_events(school_projection).resolved == 2
    assert dogs() == {"Fido": ["bite", "sit"], "Rex": []}


def test_an_event_that_fails_stops_the_projection(
    school: TrainingSchool, school_projection: Registration
) -> None:
    class Failing(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            raise ValueError("no")

    school.register("Fido")

    with pytest.raises(ProjectionError, match="failed to process"):
        catch_up(replace(school_projection, projection_class=Failing, retries=0))

    assert tracking().position is None


def test_another_store_is_noticed(
    school: TrainingSchool,
    school_projection: Registration,
    library_store: dict[str, str],
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    row = tracking()
    row.event_id = "another/1"
    row.save()

    with pytest.raises(ProjectionError, match="another store"):
        catch_up(school_projection)


def test_another_process_takes_over(
    school: TrainingSchool, school_projection: Registration
) -> None:
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection) as first:
        first.wait_for("started")
        with running(school_projection) as second:
            second.wait_for("standing by")
            first.end()
            second.wait_for("started")
            view.wait(school.name, school.register("Fido"), timeout=60)

    assert SchoolCounts.objects.get().dogs == 1


class CountsInMemory(POPOTrackingRecorder):
    """A view that is not on the ORM."""

    registered = 0


class Counting(TrainingSchoolProjection):
    name = "Counting"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        view: Any = self.view
        view.insert_tracking(tracking)
        CountsInMemory.registered += isinstance(domain_event, DogAggregate.Registered)


def test_views_of_the_library_are_kept(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTING_PERSISTENCE_MODULE", "eventsourcing.popo")
    monkeypatch.setattr(CountsInMemory, "registered", 0)
    registration = Registration(
        projection_class=Counting,
        application_class=TrainingSchool,
        view_class=CountsInMemory,
        retries=0,
    )
    school.register("Fido")
    with running(registration):
        wait_until(lambda: CountsInMemory.registered == 1)
        school.register("Rex")
        wait_until(lambda: CountsInMemory.registered == 2)
