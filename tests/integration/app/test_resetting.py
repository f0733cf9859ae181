"""Letting projections start over, while workers run them and while none does."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, models
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import ConfigurationError, LeaseLostError
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.rebuilding.resetting import referring_first, reset_projection
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection
from tests.support.rows_app.models import Animal, Owner, Visit
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NAME = TrainingSchoolProjection.name


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("resetprojection", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def counts() -> list[tuple[int, int]]:
    return list(SchoolCounts.objects.values_list("dogs", "tricks"))


def test_rows_failed_events_and_position_are_gone_and_the_row_stays(
    parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry._registry, NAME)
    before = tracking()
    assert Dog.objects.exists()

    said = run("Picky", "--no-input")

    after = tracking()
    assert "Picky starts over" in said
    assert "django_esdb.FailedEvent 3" in said
    assert "training_school.Dog 2" in said
    assert not Dog.objects.exists()
    assert not SchoolCounts.objects.exists()
    assert not FailedEvent.objects.exists()
    assert after.pk == before.pk
    assert after.token > before.token
    assert (after.position, after.event_id, after.event_position) == (None, "", None)
    assert (after.owner, after.leased_until, after.fingerprint) == ("", None, "")
    assert (after.state, after.error) == (ProjectionState.STOPPED, "")
    PickyProjection.bad.clear()
    catch_up(registry.get("Picky"))
    assert counts() == [(2, 3)]


def test_worker_that_runs_it_starts_over_by_itself(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    # It notices when the lease is to be renewed.
    settings.ESDB_LEASE_SECONDS = 3
    school.register("Fido")
    with running(school_projection, exclusive=True) as supervisor:
        wait_until(lambda: counts() == [(1, 0)])
        token = tracking().token
        # Nothing else could have made this row.
        Dog.objects.update(name="wrong")

        reset_projection(school_projection)

        wait_until(lambda: Dog.objects.filter(name="Fido").exists())
        school.add_trick("Fido", "sit")
        wait_until(lambda: counts() == [(1, 1)])
        supervisor.wait_for("started", 2)
    assert tracking().token > token + 1


def test_batch_of_the_former_owner_cannot_commit(
    school_projection: Registration,
) -> None:
    tracked = school_projection.tracked()
    lease = acquire_lease(tracked, new_owner(), 60)
    assert lease is not None
    view = DjangoTrackingRecorder(tracked.projection)
    with view.batch(tracked.application, None, 7, lease=lease):
        pass

    reset_projection(school_projection)

    with (
        pytest.raises(LeaseLostError, match="was reset") as lost,
        view.batch(tracked.application, 7, 8, lease=lease),
    ):
        pytest.fail("it is not the owner's any more")
    assert lost.value.was_reset
    with (
        pytest.raises(LeaseLostError),
        view.batch(tracked.application, None, 8, lease=lease),
    ):
        pytest.fail("nor from the beginning")
    with pytest.raises(LeaseLostError):
        lease.renew()
    lease.release(ProjectionState.PAUSED, "late")
    assert tracking().state == ProjectionState.STOPPED


def test_batch_under_way_is_waited_for(school_projection: Registration) -> None:
    tracked = school_projection.tracked()
    lease = acquire_lease(tracked, new_owner(), 60)
    assert lease is not None
    view = DjangoTrackingRecorder(tracked.projection)
    done = threading.Event()

    def reset() -> None:
        try:
            reset_projection(school_projection)
            done.set()
        finally:
            connections.close_all()

    thread = threading.Thread(target=reset)
    with view.batch(tracked.application, None, 7, lease=lease):
        SchoolCounts.objects.create(dogs=1)
        thread.start()
        assert not done.wait(0.3)
    thread.join(30)

    assert done.is_set()
    assert counts() == []
    assert tracking().position is None


def test_owners_never_share_a_token_not_even_of_a_row_that_was_deleted(
    school_projection: Registration,
) -> None:
    tracked = school_projection.tracked()
    tokens = []
    for _ in range(3):
        lease = acquire_lease(tracked, new_owner(), 60)
        assert lease is not None
        tokens.append(lease.token)
        tracked.queryset().delete()
        tracked.ensure_row()
        reset_projection(school_projection)
        tokens.append(tracking().token)

    assert tokens == sorted(set(tokens))


def test_rows_that_others_refer_to_are_deleted_after_those() -> None:
    class View(DjangoTrackingRecorder):
        read_models = (Owner, Animal, Visit)

    owner = Owner.objects.create(name="Ann")
    animal = Animal.objects.create(owner=owner, name="Rex")
    Visit.objects.create(animal=animal, number=1)

    deleted = reset_projection(
        Registration(
            projection_class=TrainingSchoolProjection,
            application_class=TrainingSchool,
            view_class=View,
        )
    )

    assert deleted == {each._meta.label: 1 for each in (Owner, Animal, Visit)}
    assert referring_first(View.read_models) == [Visit, Animal, Owner]


def test_where_rows_cannot_be_deleted_nothing_is_reset(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    before = tracking()

    def refuse(**kwargs: Any) -> None:
        raise models.ProtectedError("still needed", set())

    models.signals.pre_delete.connect(refuse, sender=Dog)
    try:
        with pytest.raises(CommandError, match="was not reset") as refused:
            run(NAME, "--no-input")
    finally:
        models.signals.pre_delete.disconnect(refuse, sender=Dog)

    assert refused.value.returncode == 1
    assert counts() == [(1, 0)]
    assert tracking().token == before.token
    assert tracking().position == before.position


@pytest.mark.any_database
def test_command_asks_first(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    for answer in ("", "no\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        with pytest.raises(CommandError, match="Nothing was reset"):
            run(NAME)
    assert capsys.readouterr().out.startswith(
        f"{NAME} will start over from the first event; 1 row of training_school.Dog "
        "and 1 row of training_school.SchoolCounts will be deleted. Type yes"
    )
    assert counts() == [(1, 0)]

    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    run(NAME)

    assert counts() == []


@pytest.mark.any_database
def test_the_question_counts_failed_events_too(
    parked: list[FailedEvent],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(registry._registry, NAME)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))

    with pytest.raises(CommandError, match="Nothing was reset"):
        run("Picky")

    assert "2 rows of training_school.Dog, " in (asked := capsys.readouterr().out)
    assert " and 3 rows of django_esdb.FailedEvent will be deleted." in asked


@pytest.mark.any_database
def test_a_position_without_rows_is_asked_about(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    Dog.objects.all().delete()
    SchoolCounts.objects.all().delete()
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))

    run(NAME)

    assert capsys.readouterr().out.startswith(
        f"{NAME} will start over from the first event. Type yes"
    )
    assert tracking().position is None


@pytest.mark.any_database
def test_nothing_is_asked_where_there_is_nothing_to_reset(
    school: TrainingSchool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(NAME) == f"{NAME} has no position and no rows: nothing to reset\n"
    assert capsys.readouterr().out == ""
    assert not ProjectionTracking.objects.exists()


@pytest.mark.any_database
def test_what_is_not_known_is_refused(
    school: TrainingSchool, registration: Callable[..., Registration]
) -> None:
    with pytest.raises(CommandError, match="No projection") as refused:
        run("Nothing", "--no-input")
    assert refused.value.returncode == 2
    with pytest.raises(ConfigurationError, match="keeps the position"):
        reset_projection(registration(view_class=POPOTrackingRecorder))


def test_tokens_of_one_projection_grow_by_one() -> None:
    tracked = TrackedProjection("default", "Projection", "App")
    first = acquire_lease(tracked, new_owner(), 60)
    assert first is not None
    first.release(ProjectionState.STOPPED)
    second = acquire_lease(tracked, new_owner(), 60)
    assert second is not None

    assert second.token == first.token + 1
    assert ProjectionTracking.objects.get().token == second.token
