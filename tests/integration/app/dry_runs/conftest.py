from __future__ import annotations

from typing import Any

import pytest

from django_esdb.debugging.dry_run import EventRun
from example_project.training_school.application import TrainingSchool
from tests.support.dry_runs import Act, ActingView, Tried, runs
from tests.support.failed_events import MakeRegistration


@pytest.fixture
def tried(school: TrainingSchool, registration: MakeRegistration) -> Tried:
    """Process an event that does something, and undo it."""
    acting = registration(view_class=ActingView)
    school.register("Fido")
    position = school.add_trick("Fido", "sit")

    def tried(act: Act, **options: Any) -> EventRun:
        ActingView.act = staticmethod(act)  # type: ignore[assignment]
        (run,) = runs(acting, only=position, **options)
        return run

    return tried
