"""Rebuilds that are asked for, while workers run and while none does."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import models

from django_esdb import signals
from django_esdb.exceptions import ConfigurationError, LeaseLostError
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.rebuilding.beginning import begin_again, head_of, take_over
from django_esdb.rebuilding.requests import (
    cancel_rebuild,
    is_requested,
    request_rebuild,
)
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from tests.support.failed_events import MakeRegistration, PickyProjection, tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def soon_renewed(settings: Any) -> None:
    settings.ESDB_LEASE_SECONDS = 1.5


def counts() -> list[tuple[int, int]]:
    return list(SchoolCounts.objects.values_list("dogs", "tricks"))


def spoil() -> None:
    """Change a row in a way that only a rebuild undoes."""
    assert Dog.objects.update(name="wrong")


def is_right() -> bool:
    return Dog.objects.filter(name="Fido").exists()


def test_the_projections_process_rebuilds_what_was_asked_for(
    school: TrainingSchool,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    school.register("Fido")
    began: list[dict[str, Any]] = []
    receiver = lambda **kwargs: began.append(kwargs)  # noqa: E731
    signals.rebuild_began.connect(receiver)
    with (
        caplog.at_level(logging.INFO, "django_esdb.runner"),
        running(school_projection, exclusive=True) as supervisor,
    ):
        wait_until(is_right)
        spoil()

        assert request_rebuild(school_projection, "7")
        assert not request_rebuild(school_projection, "8")

        wait_until(is_right)
        school.add_trick("Fido", "sit")
        wait_until(lambda: counts() == [(1, 1)])
        wait_until(lambda: not tracking().is_replaying)
        assert tracking().state == ProjectionState.RUNNING
        # It is the same owner, with the same lease.
        assert supervisor.events == ["started"]
    signals.rebuild_began.disconnect(receiver)
    assert [each["rows"][Dog._meta.label] for each in began] == [1]
    assert "Rebuild began: projection=TrainingSchoolProjection" in caplog.text
    assert "Replay ended: projection=TrainingSchoolProjection" in caplog.text
    assert (tracking().rebuild_requested_at, tracking().rebuild_requested_by) == (
        None,
        "",
    )


def test_where_no_process_runs_it_the_next_one_rebuilds(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    spoil()

    request_rebuild(school_projection, "7")

    assert not is_right()
    assert tracking().rebuild_requested_by == "7"
    catch_up(school_projection)
    assert is_right()
    assert not is_requested(school_projection.tracked())


@pytest.mark.any_database
def test_a_request_can_be_taken_back(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    spoil()
    request_rebuild(school_projection)

    assert cancel_rebuild(school_projection)
    assert not cancel_rebuild(school_projection)

    catch_up(school_projection)
    assert not is_right()


@pytest.mark.any_database
def test_a_paused_projection_is_rebuilt_and_goes_on(
    school: TrainingSchool, register: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    picky = register(OnFailure.STOP)
    with running(picky) as supervisor:
        supervisor.wait_for("paused")
        PickyProjection.bad.clear()

        request_rebuild(picky)

        wait_until(lambda: counts() == [(1, 1)])
        wait_until(lambda: tracking().state == ProjectionState.RUNNING)
    assert tracking().error == ""


def test_failed_events_go_with_it(
    parked: list[FailedEvent], register: MakeRegistration
) -> None:
    picky = register(OnFailure.PARK)
    PickyProjection.bad.clear()
    request_rebuild(picky)

    catch_up(picky)

    assert not FailedEvent.objects.exists()
    assert (tricks("Fido"), tricks("Rex")) == (["burn", "sit"], ["burn"])


@pytest.mark.any_database
def test_a_rebuild_that_is_refused_leaves_what_is_there(
    school: TrainingSchool,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(**kwargs: Any) -> None:
        raise models.ProtectedError("still needed", set())

    school.register("Fido")
    catch_up(school_projection)
    spoil()
    position = tracking().position
    models.signals.pre_delete.connect(refuse, sender=Dog)
    try:
        request_rebuild(school_projection)
        catch_up(school_projection)
    finally:
        models.signals.pre_delete.disconnect(refuse, sender=Dog)

    assert "Rebuild was refused: projection=TrainingSchoolProjection" in caplog.text
    assert tracking().position >= position
    assert Dog.objects.get().name == "wrong"
    assert not is_requested(school_projection.tracked())


def test_views_whose_rows_are_not_known_are_refused(
    registration: MakeRegistration,
) -> None:
    class View(DjangoTrackingRecorder):
        pass

    with pytest.raises(ConfigurationError, match="give it read_models"):
        request_rebuild(registration(view_class=View))
    assert not ProjectionTracking.objects.exists()


def test_whoever_ran_it_cannot_commit_any_more_and_stands_by(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    with running(school_projection, exclusive=True) as supervisor:
        wait_until(is_right)
        spoil()
        head = head_of(school_projection)

        begun = take_over(school_projection, new_owner(rebuilds=True), 60)

        supervisor.wait_for("standing by")
        assert begun.rows is not None
        assert begun.rows[Dog._meta.label] == 1
        # Or where the position was by then, if others have written.
        assert begun.until >= head
        assert not Dog.objects.exists()
        begun.lease.release(ProjectionState.STOPPED)
        wait_until(is_right)
        supervisor.wait_for("started", 2)
    assert counts() == [(1, 0)]


def test_a_rebuild_that_was_broken_off_goes_on_or_begins_anew(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    first = take_over(school_projection, "gone", 60)
    view = DjangoTrackingRecorder(school_projection.name)
    assert first.until is not None
    with view.batch("TrainingSchool", None, first.until - 1, lease=first.lease):
        pass

    owner = new_owner(rebuilds=True)
    second = take_over(school_projection, owner, 60)

    assert (second.rows, second.until) == (None, first.until)
    assert tracking().position == first.until - 1
    with (
        pytest.raises(LeaseLostError, match=f"is being rebuilt by {owner}"),
        view.batch("TrainingSchool", first.until - 1, first.until, lease=first.lease),
    ):
        pytest.fail("it is not the owner's any more")
    third = take_over(school_projection, "afresh", 60, afresh=True)
    assert third.rows is not None
    assert tracking().position is None
    # With other code what was begun is of no use.
    with view.batch("TrainingSchool", None, 0, lease=third.lease):
        pass
    ProjectionTracking.objects.update(fingerprint="another")
    assert take_over(school_projection, "other code", 60).rows is not None
    assert tracking().replay_until == first.until


def test_who_dies_in_a_rebuild_is_followed_by_who_goes_on(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    last = school.add_trick("Fido", "sit")
    catch_up(school_projection)
    take_over(school_projection, new_owner(), 0.1)

    catch_up(school_projection)

    assert counts() == [(1, 1)]
    # What is left of the replay is what others have written.
    assert not tracking().is_replaying or tracking().position >= last


def test_who_has_lost_the_lease_begins_nothing(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    lease = acquire_lease(school_projection.tracked(), new_owner(), 60)
    assert lease is not None
    assert begin_again(school_projection, lease) is None
    request_rebuild(school_projection)
    ProjectionTracking.objects.update(token=lease.token + 1)

    with pytest.raises(LeaseLostError):
        begin_again(school_projection, lease)

    assert is_right()
