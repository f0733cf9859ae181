"""Events that are computed for longer than the database waits for a statement."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from eventsourcing.persistence import Tracking

from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class SlowProjection(TrainingSchoolProjection):
    """Computes long at the trick «think», with a statement before and after."""

    name = "Slow"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if getattr(domain_event, "trick", "") == "think":
            list(SchoolCounts.objects.all())
            time.sleep(2.5)
            list(SchoolCounts.objects.all())
        super().process_event(domain_event, tracking)


@pytest.mark.slow("waits for longer than a lease")
@pytest.mark.parametrize("on_failure", [OnFailure.SKIP, OnFailure.STOP])
def test_a_slow_event_is_not_blamed_and_is_processed(
    school: TrainingSchool,
    registration: Callable[..., Registration],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    on_failure: OnFailure,
) -> None:
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    settings.ESDB_LEASE_SECONDS = 2
    school.register("Fido")
    school.add_trick("Fido", "sit")
    school.add_trick("Fido", "think")
    last = school.add_trick("Fido", "roll")
    slow = registration(projection_class=SlowProjection, on_failure=on_failure)

    with running(slow) as supervisor:
        wait_until(lambda: (tracking().position or 0) >= last)

    assert tricks("Fido") == ["sit", "think", "roll"]
    assert "paused" not in supervisor.events
    assert connection.is_usable()
