"""What handlers have done after the commit, by ``transaction.on_commit``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from eventsourcing.persistence import Tracking

from django_esdb.applications.shared import get_application
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.connections import kill_own_connection
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class CallingProjection(TrainingSchoolProjection):
    """Has each trick called back after the commit; some calls or events fail."""

    name = "Calling"
    called: list[str] = []
    failing: dict[str, type[BaseException]] = {}
    bad: set[str] = set()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if not trick:
            return
        transaction.on_commit(lambda: self._call(trick))
        if trick in self.bad:
            raise ValueError(trick)

    def _call(self, trick: str) -> None:
        assert not connection.in_atomic_block
        self.called.append(trick)
        if trick in self.failing:
            raise self.failing[trick]


@pytest.fixture
def calling(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Registration]:
    monkeypatch.setattr(CallingProjection, "called", [])
    monkeypatch.setattr(CallingProjection, "failing", {})
    monkeypatch.setattr(CallingProjection, "bad", set())

    def make(**options: Any) -> Registration:
        return registration(projection_class=CallingProjection, **options)

    return make


def test_each_events_is_called_once_and_in_order(
    school: TrainingSchool, calling: MakeRegistration
) -> None:
    school.register("Fido")
    names = [f"trick {number}" for number in range(20)]
    for name in names:
        last = school.add_trick("Fido", name)
    CallingProjection.bad.add("trick 7")

    catch_up(calling(on_failure=OnFailure.SKIP))

    assert tracking().position >= last
    assert CallingProjection.called == [name for name in names if name != "trick 7"]


@pytest.mark.parametrize(
    "error", [RuntimeError, pytest.param(SystemExit, marks=pytest.mark.any_database)]
)
def test_one_that_fails_stops_nothing_and_is_logged_with_its_event(
    school: TrainingSchool,
    calling: MakeRegistration,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    school.register("Fido")
    school.add_trick("Fido", "sit")
    there = school.add_trick("Fido", "burn")
    CallingProjection.failing["burn"] = error
    school.add_trick("Fido", "roll")

    with running(calling()) as supervisor:
        wait_until(lambda: "roll" in CallingProjection.called)
        last = school.add_trick("Fido", "jump")
        wait_until(lambda: (tracking().position or 0) >= last)
        assert tracking().state == ProjectionState.RUNNING

    assert supervisor.events == ["started"]
    assert CallingProjection.called == ["sit", "burn", "roll", "jump"]
    assert tricks("Fido") == ["sit", "burn", "roll", "jump"]
    [said] = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said == (
        "An on_commit callback failed: projection=Calling "
        f"application={school.name} position={there}"
    )


def test_one_that_a_savepoint_has_undone_is_not_called(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    called: list[str] = []

    class Undoing(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            try:
                with transaction.atomic():
                    transaction.on_commit(lambda: called.append("undone"))
                    raise ValueError
            except ValueError:
                transaction.on_commit(lambda: called.append("done"))

    school.register("Fido")
    school.register("Rex")

    catch_up(registration(projection_class=Undoing))

    assert called == ["done", "done"]


def test_one_that_fails_leaves_a_retried_event_resolved(
    school: TrainingSchool,
    calling: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    CallingProjection.bad.add("burn")
    registration = calling(on_failure=OnFailure.PARK)
    catch_up(registration)
    CallingProjection.bad.clear()
    CallingProjection.failing["burn"] = RuntimeError

    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed) == (1, 0)
    assert not FailedEvent.objects.exists()
    assert tricks("Fido") == ["burn"]
    assert caplog.records[-1].getMessage().endswith(f"position={there}")


# What is called back


def run_sql(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def fail_in_a_statement() -> None:
    run_sql("SELECT nothing FROM nowhere")


def fail_in_a_transaction() -> None:
    with transaction.atomic():
        Dog.objects.update(name="Renamed")
        fail_in_a_statement()


def lose_the_connection() -> None:
    if connection.vendor == "sqlite":
        connections.close_all()
        raise DatabaseError
    kill_own_connection(connection)
    run_sql("SELECT 1")


def leave_autocommit_off() -> None:
    transaction.set_autocommit(False)
    Dog.objects.update(name="Renamed")


async def call_later() -> None:
    pytest.fail("it is not awaited")


def fail_in_another() -> None:
    transaction.on_commit(lambda: transaction.on_commit(fail_in_a_statement))
    fail_in_a_transaction()


@pytest.mark.parametrize(
    "robust", [False, pytest.param(True, marks=pytest.mark.any_database)]
)
@pytest.mark.parametrize(
    "callback",
    [
        fail_in_a_statement,
        fail_in_a_transaction,
        lose_the_connection,
        leave_autocommit_off,
        call_later,
        fail_in_another,
    ],
)
def test_whatever_one_leaves_the_next_and_the_next_batch_can_use_the_database(
    school: TrainingSchool,
    registration: MakeRegistration,
    callback: Callable[[], Any],
    robust: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    class Calling(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            transaction.on_commit(callback, robust=robust)
            transaction.on_commit(lambda: seen.append(Dog.objects.get().name))

    school.register("Fido")
    school.add_trick("Fido", "sit")

    with running(registration(projection_class=Calling)) as supervisor:
        wait_until(lambda: len(seen) == 2)
        last = school.add_trick("Fido", "roll")
        wait_until(lambda: (tracking().position or 0) >= last)
        wait_until(lambda: len(seen) == 3)

    assert supervisor.events == ["started"]
    assert seen == ["Fido"] * 3
    assert tricks("Fido") == ["sit", "roll"]
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) == 3
    assert all(line.startswith("An on_commit callback failed") for line in said)


@pytest.mark.parametrize(
    "is_retried", [pytest.param(False, marks=pytest.mark.any_database), True]
)
def test_what_one_saves_follows_from_its_event(
    school: TrainingSchool, calling: MakeRegistration, is_retried: bool
) -> None:
    class Saving(CallingProjection):
        name = CallingProjection.name

        def _call(self, trick: str) -> None:
            if trick in ("one", "two"):
                get_application(TrainingSchool).register(f"after {trick}")

    school.register("Fido")
    positions = [school.add_trick("Fido", trick) for trick in ("one", "two", "three")]
    registration = calling(on_failure=OnFailure.PARK)
    object.__setattr__(registration, "projection_class", Saving)
    if is_retried:
        Saving.bad.update(["one", "two", "three"])
        catch_up(registration)
        Saving.bad.clear()
        assert retry_failed_events(registration).resolved == 3
    else:
        catch_up(registration)

    # Of the second one, too, whose callback is called after that of others.
    causes, saved = positions[:2], {}
    for each in school.recorder.select_notifications(None, 10):
        if each.id in causes:
            causes[causes.index(each.id)] = str(each.event_id)
        elif "$causationId" in each.metadata:
            saved[each.id] = each.metadata["$causationId"]
    assert list(saved.values()) == causes
