"""Dry runs next to workers, and those that take too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
from django.db import connection, transaction
from eventsourcing.persistence import Tracking

from django_esdb.debugging.dry_run import EventRun
from django_esdb.debugging.time_limits import TimeLimit
from django_esdb.exceptions import DryRunError
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from tests.support.dry_runs import runs
from tests.support.rows_app.models import Owner
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_goes_on_afterwards(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    position = school.add_trick("Fido", "sit")

    (run,) = runs(school_projection, only=position, limit=TimeLimit(60))
    assert [each.before["tricks"] for each in run.changes if each.before] == [[], 0]

    catch_up(school_projection)
    assert Dog.objects.get().tricks == ["sit"]


def test_a_worker_that_runs_meanwhile_is_not_disturbed(
    school: TrainingSchool, school_projection: Registration
) -> None:
    position = school.register("Fido")
    with running(school_projection) as worker:
        wait_until(Dog.objects.exists)
        for number in range(5):
            school.add_trick("Fido", str(number))
            (run,) = runs(school_projection, only=position, limit=TimeLimit(60))
            assert "IntegrityError" in run.error
        wait_until(lambda: len(Dog.objects.get().tricks) == 5)
        assert worker.thread.is_alive()
        assert worker.error is None

    assert Dog.objects.get().tricks == ["0", "1", "2", "3", "4"]


def test_a_batch_that_is_under_way_is_waited_for_no_longer_than_said(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    locked, over = threading.Event(), threading.Event()

    def hold() -> None:
        tracked = school_projection.tracked()
        with transaction.atomic():
            tracked.lock()
            locked.set()
            over.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(60)
        with pytest.raises(DryRunError, match="another process may be in a transact"):
            runs(school_projection, limit=TimeLimit(0.5))
    finally:
        over.set()
        thread.join(60)

    assert Dog.objects.count() == 1


def test_what_takes_too_long_is_ended_and_undone(
    tried: Callable[..., EventRun],
) -> None:
    is_over = threading.Event()

    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        assert is_over.wait(60)
        # Its locks are gone already.
        others.append(other_can_write())

    others: list[bool] = []
    limit = TimeLimit(0.5, is_over.set)

    with pytest.raises(DryRunError, match=r"broken off after 0\.5 s, and undone"):
        tried(act, limit=limit)

    assert others == [True]
    assert not Owner.objects.filter(name="Ann").exists()


def other_can_write() -> bool:
    """Write what a handler would write, in another thread and past what it refuses."""
    written: list[bool] = []

    def write() -> None:
        Owner.objects.create(name="Bob")
        written.append(True)
        connection.close()

    # Without the handler's context.
    thread = Context().run(lambda: threading.Thread(target=write))
    Context().run(thread.start)
    thread.join(60)
    return bool(written)
