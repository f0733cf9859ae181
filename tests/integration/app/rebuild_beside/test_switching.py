"""The moment in which a build takes the place of the rows in use."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError
from eventsourcing.persistence import Tracking

from django_esdb.management.commands import _rebuild_beside
from django_esdb.models import (
    FailedEvent,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.policies import OnFailure
from django_esdb.rebuilding.beside import switching
from django_esdb.rebuilding.resetting import reset_projection
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.building_beside import (
    NAME,
    build_beside,
    interrupt,
    is_nothing_left,
    names,
    row,
)
from tests.support.failed_events import PickyProjection, tricks
from tests.support.supervising import catch_up

pytestmark = pytest.mark.django_db(transaction=True)


def test_failed_events_of_a_build_take_the_place_of_the_former_ones(
    school: TrainingSchool, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PickyProjection, "bad", {"burn"})
    school.register("Fido")
    school.register("Rex")
    school.add_trick("Fido", "burn")
    school.add_trick("Rex", "fly")
    catch_up(only(projection_class=PickyProjection, on_failure=OnFailure.PARK))
    former = FailedEvent.objects.get()
    PickyProjection.bad = {"fly"}
    with monkeypatch.context() as patched:
        interrupt(patched, "switch")
        with pytest.raises(CommandError):
            build_beside("Picky")
    assert FailedEvent.objects.filter(projection="Picky").get() == former

    said = build_beside("Picky")

    assert "1 failed and is put aside" in said
    failed = FailedEvent.objects.get()
    assert (failed.projection, failed.pk != former.pk) == ("Picky", True)
    assert tricks("Fido") == ["burn"]
    assert tricks("Rex") == []
    assert is_nothing_left()


class Telling(TrainingSchoolProjection):
    told: list[str] = []
    seen: list[tuple[str, bool]] = []

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if trick := getattr(domain_event, "trick", ""):
            self.seen.append((trick, self.is_replay))
            self.on_live(lambda: self.told.append(trick))


def test_effects_happen_once_for_what_was_there_and_for_what_comes(
    school: TrainingSchool, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Telling, "told", [])
    monkeypatch.setattr(Telling, "seen", [])
    telling = only(projection_class=Telling)
    school.register("Fido")
    school.add_trick("Fido", "sit")
    catch_up(telling)
    # What the projection has yet to process is not the build's.
    school.add_trick("Fido", "beg")
    assert Telling.told == ["sit"]

    build_beside("Telling")

    assert Telling.seen == [("sit", False), ("sit", True)]
    assert tricks("Fido") == ["sit"]
    catch_up(telling)
    assert Telling.told == ["sit", "beg"]
    assert Telling.seen[-1] == ("beg", False)
    assert tricks("Fido") == ["sit", "beg"]


def test_what_was_reset_or_is_being_rebuilt_is_built_up_to_where_it_was(
    spoilt: TrainingSchool, school_projection: Registration
) -> None:
    last = row().position
    reset_projection(school_projection)
    assert row().position is None

    build_beside(NAME)

    assert names() == ["Fido", "Rex"]
    # Or beyond, where others have written meanwhile.
    assert row().position >= last
    assert not row().is_replaying


@pytest.mark.parametrize(
    "by_hand", [False, pytest.param(True, marks=pytest.mark.any_database)]
)
def test_a_paused_projection_goes_on_unless_it_was_paused_by_hand(
    spoilt: TrainingSchool, by_hand: bool
) -> None:
    paused_by = "by hand" if by_hand else "1:abc"
    from django_esdb.models import BY_HAND

    ProjectionTracking.objects.update(
        state=ProjectionState.PAUSED,
        paused_by=BY_HAND if by_hand else paused_by,
        error="broken",
    )

    build_beside(NAME)

    state = ProjectionState.PAUSED if by_hand else ProjectionState.STOPPED
    assert (row().state, row().error) == (state, "broken" if by_hand else "")
    assert names() == ["Fido", "Rex"]


def test_a_switch_is_refused_where_others_have_taken_over(
    spoilt: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = switching.switch

    def later(registration: Registration, *args: Any) -> Any:
        reset_projection(registration)
        return switch(registration, *args)

    monkeypatch.setattr(_rebuild_beside, "switch", later)

    with pytest.raises(CommandError, match="was reset, and starts over"):
        build_beside(NAME)

    catch_up(school_projection)
    assert names() == ["Fido", "Rex"]
