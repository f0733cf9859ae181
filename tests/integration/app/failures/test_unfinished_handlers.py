"""Handlers that return before they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import EventProcessingError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.supervising import catch_up

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


async def _later() -> None:
    pass


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> Any:
    yield


class _Awaitable:
    def __await__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    "returned",
    [
        _later,
        *(
            pytest.param(each, marks=pytest.mark.any_database)
            for each in (_generator, _async_generator, _Awaitable)
        ),
    ],
)
def test_what_is_not_done_yet_is_a_failure(
    school: TrainingSchool,
    registration: MakeRegistration,
    returned: Callable[[], Any],
) -> None:
    class Returning(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> Any:
            return returned()

    school.register("Fido")
    returning = registration(projection_class=Returning, on_failure=OnFailure.PARK)

    catch_up(returning)

    [event] = FailedEvent.objects.all()
    assert "a handler has returned a" in event.error
    assert "is called and not awaited" in event.error
    assert retry_failed_events(returning).failed == 1


@pytest.mark.any_database
def test_what_is_not_done_yet_is_a_failure_also_for_other_views(
    school: TrainingSchool, registration: MakeRegistration, settings: Any
) -> None:
    key = "TRAININGSCHOOLPROJECTION_PERSISTENCE_MODULE"
    settings.ESDB_ENV = {key: "eventsourcing.popo"}

    class Returning(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> Any:
            return _later()

    school.register("Fido")

    with pytest.raises(EventProcessingError, match="has returned a coroutine"):
        catch_up(
            registration(projection_class=Returning, view_class=POPOTrackingRecorder)
        )
