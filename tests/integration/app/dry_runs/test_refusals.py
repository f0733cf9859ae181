"""What a handler may not do, and what is not done for it."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import Tracking

from django_esdb.exceptions import DryRunError
from example_project.training_school.application import TrainingSchool
from tests.support.dry_runs import Tried, changed
from tests.support.rows_app.models import Counter, Owner, Visit

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_the_commit_would_refuse_is_the_events_error(tried: Tried) -> None:
    run = tried(
        lambda view, tracking: Visit.objects.create(animal_id=UUID(int=7), number=1)
    )

    assert run.error.startswith("IntegrityError")
    assert run.changes == ()


def test_callbacks_are_counted_and_not_called(tried: Tried) -> None:
    called: list[str] = []

    run = tried(lambda view, tracking: transaction.on_commit(lambda: called.append("")))

    assert run.notes == ("1 on_commit callback, not called",)
    assert called == []
    with transaction.atomic():
        Owner.objects.create(name="Ann")
    assert called == []


def test_effects_are_left_out_as_in_a_replay(tried: Tried) -> None:
    called: list[bool] = []

    def act(view: Any, tracking: Tracking) -> None:
        view.on_live(lambda: called.append(True))
        called.append(view.is_replay)

    run = tried(act)

    assert (run.error, run.notes, called) == ("", (), [True])


@pytest.mark.parametrize("statement", ["COMMIT", "  commit ;", "END", "ROLLBACK"])
def test_no_statement_ends_the_transaction(tried: Tried, statement: str) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        with connection.cursor() as cursor:
            cursor.execute(statement)

    run = tried(act)

    assert "would end the transaction" in run.error
    assert not Owner.objects.exists()


def test_definitions_of_tables_are_not_committed_with_the_rest(tried: Tried) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE dry_parent (id INTEGER)")

    run = tried(act)

    if connection.vendor == "mysql":
        assert "would end the transaction" in run.error
    assert not Owner.objects.exists()
    assert "dry_parent" not in connection.introspection.table_names()


def test_a_commit_by_the_driver_is_refused(
    tried: Tried, school: TrainingSchool
) -> None:
    run = tried(lambda view, tracking: connection.connection.commit())

    assert run.error.startswith("NotSupportedError: connection.commit() would end the")


def test_a_commit_past_django_is_told(tried: Tried, school: TrainingSchool) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        # What the driver's own cursor executes is not looked at before.
        connection.connection.cursor().execute("COMMIT")

    with pytest.raises(DryRunError, match="the transaction has ended at position"):
        tried(act)


def test_no_event_is_saved(tried: Tried, school: TrainingSchool) -> None:
    before = school.recorder.max_notification_id()

    run = tried(lambda view, tracking: school.register("Rex"))
    other = tried(lambda view, tracking: School().save(Aggregate()))

    assert run.error.startswith("ProgrammingError: Nothing is saved here")
    assert other.error == run.error
    assert school.recorder.max_notification_id() == before
    # It holds for the handler alone.
    assert school.register("Rex") > (before or 0)


class School(Application[UUID]):
    """Keeps its events in memory."""

    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}


def test_a_handlers_threads_neither_save_nor_write(
    tried: Tried, school: TrainingSchool
) -> None:
    errors: list[str] = []

    def work() -> None:
        for attempt in (
            lambda: school.register("Rex"),
            lambda: Counter.objects.create(name="a"),
        ):
            try:
                attempt()
            except Exception as error:
                errors.append(str(error))
        connection.close()

    def act(view: Any, tracking: Tracking) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)

    assert changed(tried(act)) == []
    assert "Nothing is saved here" in errors[0]
    assert "could not be undone" in errors[1]
    assert not Counter.objects.exists()
