from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb import async_wait_for
from django_esdb.exceptions import (
    NotProcessedError,
    NotRegisteredError,
    ProjectionError,
)
from django_esdb.failures import skipping
from django_esdb.failures.discarding import discard_failed_events, discard_selected
from django_esdb.models import FailedEvent, SkippedEvent
from django_esdb.policies import OnFailure
from django_esdb.rebuilding.resetting import reset_projection
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.recorders.outcomes import WaitResult
from django_esdb.registry import Registration, registry
from django_esdb.status.status import projection_statuses
from django_esdb.waiting import wait_for
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.projects import Project
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Unprojected(DogAggregate.Event):
    """An event that is none of the projection's topics."""


def test_what_is_processed_is_seen(
    school: TrainingSchool, school_projection: Registration
) -> None:
    with running(school_projection):
        for name in ("Fido", "Rex"):
            recordings = school.save(DogAggregate(name))
            assert wait_for(TrainingSchoolProjection, recordings, timeout=30)
            assert Dog.objects.filter(name=name).exists()


def test_several_events_of_which_the_last_is_not_projected(
    school: TrainingSchool, school_projection: Registration
) -> None:
    with running(school_projection):
        dog = DogAggregate("Fido")
        dog.trigger_event(Unprojected)
        assert wait_for("TrainingSchoolProjection", school.save(dog), timeout=30)
        assert Dog.objects.get().name == "Fido"


def test_time_that_is_over_is_no_error(
    school: TrainingSchool, school_projection: Registration
) -> None:
    recordings = school.save(DogAggregate("Fido"))

    assert not wait_for(TrainingSchoolProjection, recordings, timeout=0.01)


def test_other_topics_need_no_waiting(
    school: TrainingSchool, school_projection: Registration
) -> None:
    dog = DogAggregate("Fido")
    school.save(dog)
    dog.trigger_event(Unprojected)

    assert wait_for(TrainingSchoolProjection, school.save(dog), timeout=0)
    assert wait_for(TrainingSchoolProjection, [], timeout=0)


def test_wrong_projections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRegisteredError):
        wait_for("Unknown", [])

    class InMemory(TrainingSchoolProjection):
        pass

    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    registry.register(
        InMemory, application_class=TrainingSchool, view_class=POPOTrackingRecorder
    )
    with pytest.raises(TypeError, match="not in the database"):
        wait_for(InMemory, [])


def test_what_is_put_aside_is_told_from_what_is_processed(
    school: TrainingSchool, parked: list[FailedEvent]
) -> None:
    for event in parked:
        assert wait_for("Picky", event.position) is WaitResult.PARKED
    view = DjangoTrackingRecorder("Picky")
    with pytest.raises(NotProcessedError, match="put aside"):
        view.wait(school.name, parked[0].position)
    view.wait(school.name, parked[0].position - 1)
    assert wait_for("Picky", parked[0].position - 1) is WaitResult.PROCESSED


@pytest.mark.parametrize("by_command", [False, True])
def test_what_is_discarded_is_told_from_what_is_processed(
    school: TrainingSchool, parked: list[FailedEvent], by_command: bool
) -> None:
    positions = [event.position for event in parked]
    registration = registry.get("Picky")
    if by_command:
        assert discard_failed_events(registration) == 3
    else:
        discard_selected(registration.tracked(), [event.pk for event in parked])

    for position in positions:
        assert wait_for("Picky", position) is WaitResult.SKIPPED
    errors = list(SkippedEvent.objects.values_list("position", "error"))
    assert [position for position, _ in errors] == positions
    assert errors[0][1] == parked[0].error
    assert errors[1][1] == "discarded while it waited for an earlier one"
    (status,) = (each for each in projection_statuses() if each.projection == "Picky")
    assert any("3 events were skipped" in line for line in status.advice)


def test_the_latest_that_were_discarded_are_kept(
    parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skipping, "MOST_KEPT", 2)
    for event in parked:
        discard_failed_events(registry.get("Picky"), event.pk)
    kept = SkippedEvent.objects.values_list("position", flat=True)
    assert list(kept) == [event.position for event in parked[1:]]


def test_event_of_a_save_that_is_put_aside_is_told_by_its_aggregate(
    school: TrainingSchool, parked: list[FailedEvent]
) -> None:
    dog = DogAggregate("Rover")
    dog.add_trick("burn")
    recordings = school.save(dog)
    catch_up(registry.get("Picky"))

    assert wait_for("Picky", recordings) is WaitResult.PARKED
    assert wait_for("Picky", recordings[:1]) is WaitResult.PROCESSED


def test_what_is_skipped_is_told_from_what_is_processed(
    school: TrainingSchool, register: Callable[[OnFailure], Registration]
) -> None:
    registration = register(OnFailure.SKIP)
    dog = DogAggregate("Rover")
    dog.add_trick("burn")
    dog.add_trick("sit")
    recordings = school.save(dog)
    catch_up(registration)

    # A save has one position; its events are told by their aggregate's versions.
    assert wait_for("Picky", recordings) is WaitResult.SKIPPED
    assert wait_for("Picky", recordings[1:2]) is WaitResult.SKIPPED
    assert wait_for("Picky", recordings[2:]) is WaitResult.PROCESSED
    position = SkippedEvent.objects.get().position
    assert wait_for("Picky", position - 1) is WaitResult.PROCESSED
    (status,) = (each for each in projection_statuses() if each.projection == "Picky")
    assert status.skipped_events == 1
    assert any("1 event was skipped" in line for line in status.advice)
    with pytest.raises(NotProcessedError, match="skipped"):
        DjangoTrackingRecorder("Picky").wait(school.name, position)
    reset_projection(registration)
    assert not SkippedEvent.objects.exists()


def test_wait_ends_early_when_the_projection_is_paused(
    school: TrainingSchool, register: Callable[[OnFailure], Registration]
) -> None:
    picky = register(OnFailure.STOP)
    school.register("Fido")
    recordings = school.save(_burning(school))
    with pytest.raises(ProjectionError):
        catch_up(picky)

    assert wait_for("Picky", recordings, timeout=60) is WaitResult.PAUSED
    with pytest.raises(NotProcessedError, match="paused"):
        DjangoTrackingRecorder("Picky").wait(
            school.name, recordings[-1].notification.id, timeout=60
        )


def test_many_await_with_one_thread(
    school: TrainingSchool, school_projection: Registration
) -> None:
    saved = [school.save(DogAggregate(f"Dog {number}")) for number in range(30)]
    threads: set[str] = set()

    async def wait_for_all() -> list[WaitResult]:
        waiting = [
            async_wait_for(TrainingSchoolProjection, recordings, timeout=60)
            for recordings in saved
        ]
        results = asyncio.gather(*waiting)
        while not results.done():
            threads.update(
                thread.name
                for thread in threading.enumerate()
                if "django-esdb-waiting" in thread.name
            )
            await asyncio.sleep(0.01)
        return await results

    with running(school_projection):
        assert asyncio.run(wait_for_all()) == [WaitResult.PROCESSED] * 30

    assert len(threads) == 1
    assert not asyncio.run(async_wait_for(TrainingSchoolProjection, 2**60, 0.01))
    assert asyncio.run(async_wait_for(TrainingSchoolProjection, []))
    wait_until(
        lambda: (
            not any(
                "django-esdb-waiting" in thread.name for thread in threading.enumerate()
            )
        )
    )


def test_who_awaits_in_a_forked_process_has_a_thread_of_its_own(
    project: Project,
) -> None:
    # The thread is in no statement when the process forks: the database's locks, too,
    # would be the child's then, and with no thread to release them.
    code = (
        "import asyncio, os, threading\n"
        "from django_esdb import async_wait_for\n"
        "from django_esdb.waiting import _polling\n"
        "def wait():\n"
        "    name = 'TrainingSchoolProjection'\n"
        "    return asyncio.run(async_wait_for(name, 2**60, 0.01)).name\n"
        "wait()\n"
        "with _polling:\n"
        "    _polling.submit(threading.Event().wait)\n"
        "    if not os.fork():\n"
        "        os.write(1, wait().encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    os._exit(0)\n"
    )
    assert project.python(code) == "TIMED_OUT"


def _burning(school: TrainingSchool) -> DogAggregate:
    dog: DogAggregate = school.repository.get(DogAggregate.create_id("Fido"))
    dog.add_trick("burn")
    return dog


@pytest.mark.any_database
def test_a_view_that_waits_under_a_wrong_name_is_told_at_once_which_there_are(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = school.register("Fido")
    names = (
        "No projection 'TrainingSchoolView' is registered; registered: "
        "TrainingSchoolProjection"
    )

    view = TrainingSchoolView()
    with monkeypatch.context() as context, pytest.raises(TimeoutError) as at_once:
        context.setattr("django_esdb.recorders.waiting.poll", pytest.fail)
        view.wait("TrainingSchool", position, timeout=3600)
    # As after the first event of a runner that was made by hand.
    view.ensure_row("TrainingSchool")
    with pytest.raises(TimeoutError) as timed_out:
        view.wait("TrainingSchool", position, timeout=0)
    with pytest.raises(TimeoutError) as registered:
        TrainingSchoolView(TrainingSchoolProjection.name).wait(
            "TrainingSchool", position, timeout=0
        )

    assert isinstance(at_once.value, NotRegisteredError)
    assert str(at_once.value).endswith(names)
    assert str(timed_out.value).endswith(names)
    assert str(registered.value).endswith("is runprojections running?")
