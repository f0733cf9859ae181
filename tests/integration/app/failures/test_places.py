"""Where an event has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_esdb.exceptions import EventProcessingError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, SkippedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from tests.support.failing import FailingProjection
from tests.support.supervising import catch_up

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


@pytest.mark.parametrize("policy", list(OnFailure))
@pytest.mark.parametrize(
    "retries", [0, pytest.param(2, marks=pytest.mark.any_database)]
)
def test_the_place_is_in_the_log_once_and_kept(
    failing: MakeRegistration,
    school: TrainingSchool,
    caplog: pytest.LogCaptureFixture,
    policy: OnFailure,
    retries: int,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    projection = failing(on_failure=policy, retries=retries)

    if policy is OnFailure.STOP:
        with pytest.raises(EventProcessingError):
            catch_up(projection)
        kept = projection.tracked().row().traceback
    else:
        catch_up(projection)
        model = FailedEvent if policy is OnFailure.PARK else SkippedEvent
        kept = model.objects.get().traceback

    assert "in process_event" in kept
    assert kept.endswith("\nRuntimeError: cannot burn")
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert kept in caplog.text


@pytest.mark.any_database
def test_a_retry_that_fails_elsewhere_keeps_the_new_place(
    failing: MakeRegistration,
    school: TrainingSchool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    projection = failing(on_failure=OnFailure.PARK)
    catch_up(projection)

    def fail_elsewhere(self: Any, *args: Any) -> None:
        raise ValueError("elsewhere")

    monkeypatch.setattr(FailingProjection, "process_event", fail_elsewhere)
    retry_failed_events(projection)

    kept = FailedEvent.objects.get().traceback
    assert "in fail_elsewhere" in kept
    assert kept.endswith("\nValueError: elsewhere")
