"""Several runners, projections and applications at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection

from django_esdb import signals
from django_esdb.exceptions import AlreadyRegisteredError, PositionMovedError
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import ProjectionRegistry, Registration
from django_esdb.runner import ProjectionRunner
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.rows_app.models import Counter
from tests.support.supervising import running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class CountingView(DjangoTrackingRecorder):
    """Counts events in a table of its own, in the order in which they come."""

    read_models = (Counter,)


@pytest.fixture
def runner(school_projection: Registration) -> Iterator[Callable[[], ProjectionRunner]]:
    """Make runners that know nothing of leases, as one made by hand does not."""
    with ExitStack() as stack:

        def make() -> ProjectionRunner:
            made = ProjectionRunner(
                application_class=school_projection.application_class,
                projection_class=school_projection.projection_class,
                view_class=school_projection.view_class,
                env=school_projection.env(),
            )
            # Which of them ends by the other's doing is a matter of chance.
            stack.enter_context(suppress(PositionMovedError))
            return stack.enter_context(made)

        yield make


def test_two_runners_without_a_lease_do_nothing_twice(
    school: TrainingSchool, runner: Callable[[], ProjectionRunner]
) -> None:
    runners = [runner(), runner()]
    for number in range(30):
        last = school.register(f"dog {number}")
    wait_until(
        lambda: (
            all(each.is_interrupted.is_set() for each in runners)
            or ProjectionTracking.objects.filter(position__gte=last).exists()
        )
    )
    # The one that found the position moved has ended; another continues.
    runner().wait(last, timeout=60)

    assert SchoolCounts.objects.get().dogs == 30
    assert Dog.objects.count() == 30


def test_a_runner_without_a_lease_cannot_disturb_the_owner_for_long(
    school: TrainingSchool,
    runner: Callable[[], ProjectionRunner],
    school_projection: Registration,
) -> None:
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection):
        runner()
        for number in range(20):
            last = school.register(f"dog {number}")
        view.wait(school.name, last, timeout=60)

    assert SchoolCounts.objects.get().dogs == 20


def test_two_applications_cannot_feed_one_projection(
    school_projection: Registration,
) -> None:
    class OtherSchool(TrainingSchool):
        name = "OtherSchool"

    registry = ProjectionRegistry()
    classes: dict[str, Any] = {
        "projection_class": school_projection.projection_class,
        "view_class": school_projection.view_class,
    }
    registry.register(**classes, application_class=TrainingSchool)

    with pytest.raises(AlreadyRegisteredError, match="is registered twice"):
        registry.register(**classes, application_class=OtherSchool)


def test_projections_side_by_side_wait_for_no_one(
    school: TrainingSchool, registration: Callable[..., Registration]
) -> None:
    class Counting(Projection[CountingView]):
        topics = TrainingSchoolProjection.topics

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            with self.view.atomic(tracking):
                self.view.rows(Counter).increment("all", count=1)

    counting = registration(projection_class=Counting, view_class=CountingView)
    with running(registration()), running(counting):
        for number in range(20):
            last = school.register(f"dog {number}")
            last = school.add_trick(f"dog {number}", "sit")
        for name in (TrainingSchoolProjection.name, "Counting"):
            DjangoTrackingRecorder(name).wait(school.name, last, timeout=60)

    assert SchoolCounts.objects.get().dogs == 20
    assert Counter.objects.get().count == 40


def test_a_batch_of_slow_events_ends_before_the_lease_does(
    school: TrainingSchool, registration: Callable[..., Registration], settings: Any
) -> None:
    settings.ESDB_LEASE_SECONDS = 2
    school.register("Fido")
    for number in range(40):
        last = school.add_trick("Fido", f"trick {number}")
    batches: list[int] = []

    class Slow(TrainingSchoolProjection):
        name = "Slow"

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            time.sleep(0.05)

    def note(*, events: int, **kwargs: Any) -> None:
        batches.append(events)

    signals.batch_committed.connect(note, Slow)
    with running(registration(projection_class=Slow)):
        wait_until(lambda: (tracking().position or 0) >= last)

    # Two seconds' work in batches of at most half a second.
    assert len(list(filter(None, batches))) > 2
    assert max(batches) > 1
    assert Dog.objects.get().tricks == [f"trick {number}" for number in range(40)]
