"""What cannot be built next to the rows in use, and what a build may not do."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from eventsourcing.persistence import Tracking

from django_esdb.models import (
    FailedEvent,
    ProjectionTracking,
)
from django_esdb.policies import OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolView
from tests.support.building_beside import (
    NAME,
    build_beside,
    is_nothing_left,
    names,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Literal(TrainingSchoolView):
    sql = ""

    def add_trick(self, dog_id: Any, trick: str, tracking: Tracking) -> None:
        super().add_trick(dog_id, trick, tracking)

    def register_dog(self, dog_id: Any, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Dog).add(Dog(id=dog_id, name=name))
            if self.name != "TrainingSchoolProjection":
                with connection.cursor() as cursor:
                    cursor.execute(self.sql)


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(OnFailure.STOP, marks=pytest.mark.any_database),
        OnFailure.PARK,
        pytest.param(OnFailure.SKIP, marks=pytest.mark.any_database),
    ],
)
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE training_school_dog SET name = 'x'", "names a table in use"),
        ("SELECT COUNT(*) FROM training_school_dog", "names a table in use"),
        ("DELETE FROM django_session", "changes rows of django_session"),
    ],
)
def test_statements_that_would_touch_what_is_in_use_end_it(
    spoilt: TrainingSchool,
    only: Any,
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
    why: str,
    policy: OnFailure,
) -> None:
    monkeypatch.setattr(Literal, "sql", sql)
    only(view_class=Literal, on_failure=policy)

    with pytest.raises(CommandError, match=why) as refused:
        build_beside(NAME)

    assert refused.value.returncode in (1, 2)
    assert names() == ["Fido", "wrong"]
    assert not FailedEvent.objects.exists()


@pytest.mark.any_database
def test_it_needs_a_process_of_its_own_and_whole_rows(
    spoilt: TrainingSchool, only: Any
) -> None:
    with pytest.raises(CommandError, match="as a process of its own") as refused:
        call_command("rebuildprojection", NAME, "--beside")
    assert refused.value.returncode == 2

    class View(DjangoTrackingRecorder):
        pass

    only(view_class=View)
    with pytest.raises(CommandError, match="read_models") as refused:
        build_beside(NAME)
    assert refused.value.returncode == 2


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("options", "unheeded"),
    [
        (["--beside", "--only=x"], "--beside"),
        (["--abort", "--only=x", "--restart"], "--abort, --restart"),
        (["--only=x", "--batch-size=5"], "--batch-size"),
        (["--abort", "--restart"], "--restart"),
        (["--abort", "--beside", "--batch-size=5"], "--batch-size"),
    ],
)
def test_options_that_others_would_not_heed_are_refused(
    spoilt: TrainingSchool, only: Any, options: list[str], unheeded: str
) -> None:
    with pytest.raises(CommandError, match=f": leave out {unheeded}$") as refused:
        call_command("rebuildprojection", NAME, *options)

    assert refused.value.returncode == 2


@pytest.mark.any_database
def test_what_has_processed_nothing_has_nothing_to_build_next_to(
    school: TrainingSchool, school_projection: Registration
) -> None:
    with pytest.raises(CommandError, match="has processed no event yet") as refused:
        build_beside(NAME)
    assert refused.value.returncode == 1
    assert is_nothing_left()


@pytest.mark.any_database
def test_another_stores_events_are_not_built_from(spoilt: TrainingSchool) -> None:
    ProjectionTracking.objects.update(event_id="of another store")
    with pytest.raises(CommandError, match="this is another store"):
        build_beside(NAME)
    assert is_nothing_left()
