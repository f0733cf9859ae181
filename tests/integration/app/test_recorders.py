from __future__ import annotations

import threading
from contextlib import suppress
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import IntegrityError, Tracking

from django_esdb.exceptions import ViewDatabaseError, WaitInTransactionError
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from example_project.training_school.models import Dog, SchoolCounts
from tests.support.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)

APP = "TrainingSchool"


def make_dog(name: str) -> Dog:
    return Dog.objects.create(id=uuid4(), name=name)


def names() -> list[str]:
    return list(Dog.objects.values_list("name", flat=True))


def test_atomic_records_rows_and_position_together() -> None:
    view = DjangoTrackingRecorder("projection")

    with view.atomic(Tracking(APP, 5)):
        make_dog("Fido")

    assert names() == ["Fido"]
    assert view.max_tracking_id(APP) == 5


def test_atomic_leaves_neither_rows_nor_position_after_an_error() -> None:
    view = DjangoTrackingRecorder("projection")

    with pytest.raises(ZeroDivisionError), view.atomic(Tracking(APP, 5)):
        make_dog("Fido")
        1 / 0  # noqa: B018

    assert names() == []
    assert view.max_tracking_id(APP) is None


@pytest.mark.parametrize("position", [4, 5])
def test_atomic_refuses_what_is_processed_already(position: int) -> None:
    view = DjangoTrackingRecorder("projection")
    view.insert_tracking(Tracking(APP, 5))

    with (
        pytest.raises(IntegrityError, match=r"processed already.*is at 5"),
        view.atomic(Tracking(APP, position)),
    ):
        make_dog("Fido")

    assert names() == []
    assert view.max_tracking_id(APP) == 5


def test_projections_do_not_share_positions() -> None:
    DjangoTrackingRecorder("one").insert_tracking(Tracking(APP, 5))

    assert DjangoTrackingRecorder("other").max_tracking_id(APP) is None
    assert DjangoTrackingRecorder("one").max_tracking_id("Other") is None


def test_position_can_be_as_large_as_a_commit_position() -> None:
    view = DjangoTrackingRecorder("projection")

    view.insert_tracking(Tracking(APP, 2**63 - 1))

    assert view.max_tracking_id(APP) == 2**63 - 1


def test_batch_moves_the_position_though_the_view_does_nothing() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)

    with view.batch(APP, None, 7):
        pass

    assert view.max_tracking_id(APP) == 7


def test_batch_refuses_when_another_has_moved_the_position() -> None:
    view = DjangoTrackingRecorder("projection")
    view.insert_tracking(Tracking(APP, 7))

    for start, position in ((5, 9), (None, 9), (7, 7), (7, 6)):
        with (
            pytest.raises(IntegrityError, match="another process is running it"),
            view.batch(APP, start, position),
        ):
            make_dog("Fido")

    assert names() == []
    assert view.max_tracking_id(APP) == 7


def test_atomic_within_a_batch_joins_its_transaction() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)
    tracking = Tracking(APP, 7)

    with pytest.raises(ZeroDivisionError), view.batch(APP, None, 7) as batch:
        batch.begin(tracking)
        with view.atomic(tracking):
            make_dog("Fido")
        1 / 0  # noqa: B018

    assert names() == []
    assert view.max_tracking_id(APP) is None


def test_an_error_that_a_handler_hides_still_undoes_everything() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)
    tracking = Tracking(APP, 7)

    with (
        pytest.raises(transaction.TransactionManagementError),
        view.batch(APP, None, 7) as batch,
    ):
        batch.begin(tracking)
        try:
            with view.atomic(tracking):
                make_dog("Fido")
                1 / 0  # noqa: B018
        except ZeroDivisionError:
            pass
        make_dog("Rex")

    assert names() == []
    assert view.max_tracking_id(APP) is None


def test_atomic_within_a_batch_refuses_another_position() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)

    with (
        pytest.raises(IntegrityError),
        view.batch(APP, None, 7) as batch,
    ):
        batch.begin(Tracking(APP, 7))
        with view.atomic(Tracking(APP, 8)):
            make_dog("Fido")

    assert names() == []


def test_concurrent_batches_with_one_event_happens_once() -> None:
    SchoolCounts.objects.create(id=1)
    DjangoTrackingRecorder("projection").ensure_row(APP)

    def process(number: int) -> str:
        view = DjangoTrackingRecorder("projection")
        try:
            with view.batch(APP, None, 7):
                SchoolCounts.objects.update(dogs=F("dogs") + 1)
        except IntegrityError:
            return "refused"
        return "processed"

    assert sorted(at_once(process, 4)) == ["processed", "refused", "refused", "refused"]
    assert SchoolCounts.objects.get().dogs == 1


def test_concurrent_first_events_make_one_row() -> None:
    def insert(number: int) -> None:
        view = DjangoTrackingRecorder("projection")
        with suppress(IntegrityError):
            view.insert_tracking(Tracking(APP, number + 1))

    at_once(insert, 4)

    assert [row.position for row in ProjectionTracking.objects.all()] == [4]


def test_wait_returns_when_another_thread_has_processed_the_event() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)

    def process() -> None:
        DjangoTrackingRecorder("projection").insert_tracking(Tracking(APP, 5))
        connection.close()

    thread = threading.Timer(0.05, process)
    thread.start()
    view.wait(APP, 5, timeout=10)

    assert view.max_tracking_id(APP) == 5
    thread.join()


def test_waiting_for_a_second_takes_few_queries() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)

    with CaptureQueriesContext(connection) as statements, pytest.raises(TimeoutError):
        view.wait(APP, 5, timeout=1)

    assert 2 <= len(statements) < 25


def test_wait_in_a_transaction_raises_where_it_could_not_see_the_change() -> None:
    view = DjangoTrackingRecorder("projection")
    view.insert_tracking(Tracking(APP, 5))
    expected = WaitInTransactionError if connection.vendor == "sqlite" else TimeoutError

    with transaction.atomic():
        view.wait(APP, 5)
        with pytest.raises(expected):
            view.wait(APP, 6, timeout=0.01)


def test_time_out_names_projection_and_event() -> None:
    view = DjangoTrackingRecorder("projection")
    view.ensure_row(APP)

    with pytest.raises(TimeoutError, match=r"'projection'.* 6 of 'TrainingSchool'"):
        view.wait(APP, 6, timeout=0.01)


def test_a_database_that_is_not_configured_is_refused() -> None:
    class View(DjangoTrackingRecorder):
        using = "nowhere"

    with pytest.raises(ViewDatabaseError, match=r"'nowhere'; DATABASES has default"):
        View("projection")
