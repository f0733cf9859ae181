"""Connections and logged queries of threads in which no request ends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb import signals
from django_esdb.db import connections as db_connections
from django_esdb.db.connections import ConnectionKeeper
from django_esdb.registry import Registration
from django_esdb.runner import Options, Worker, decisions, renewals, term
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.conftest import DATABASE_URL
from tests.support.connections import kill_connections
from tests.support.databases import with_name
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class QueryLog(deque[Any]):
    """
    Django's log of a connection's queries.

    Attributes:
        total: How many were ever put in.
        longest: How many there ever were at once.
    """

    total = longest = 0

    def append(self, item: Any) -> None:
        super().append(item)
        self.total += 1
        self.longest = max(self.longest, len(self))


class Opened:
    """
    Connections of all threads but the test's own.

    Attributes:
        count: How many there ever were.
        wrappers: Django's objects, which each may connect several times.
    """

    def __init__(self) -> None:
        self.count = 0
        self.wrappers: list[Any] = []
        self._tests_thread = threading.current_thread()

    def note(self, *, connection: Any, **kwargs: Any) -> None:
        if threading.current_thread() is self._tests_thread:
            return
        self.count += 1
        if connection not in self.wrappers:
            connection.queries_log = QueryLog(maxlen=connection.queries_limit)
            self.wrappers.append(connection)

    def are_closed(self) -> bool:
        return all(wrapper.connection is None for wrapper in self.wrappers)

    def logs(self) -> list[QueryLog]:
        return [wrapper.queries_log for wrapper in self.wrappers]


@pytest.fixture
def opened() -> Iterator[Opened]:
    opened = Opened()
    connection_created.connect(opened.note)
    yield opened
    connection_created.disconnect(opened.note)


@pytest.fixture
def max_age(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], None]]:
    """Set CONN_MAX_AGE for connections that are opened from now on."""

    def set_max_age(seconds: int | None) -> None:
        monkeypatch.setitem(
            connections["default"].settings_dict, "CONN_MAX_AGE", seconds
        )
        monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", seconds)

    yield set_max_age
    connection.close()


@pytest.fixture
def wrapper(max_age: Callable[[int | None], None]) -> BaseDatabaseWrapper:
    """The test thread's own connection, as Django wraps it."""
    connection.close()
    return connections["default"]


def wait_for_dog(name: str) -> None:
    wait_until(Dog.objects.filter(name=name).exists, f"no {name}")


@pytest.mark.parametrize(
    ("seconds", "pause", "is_kept"),
    [
        # Django's default: the connection is one request's, here one spell of work's.
        (0, 0.0, True),
        (0, 3600.0, False),
        (600, 0.0, True),
        (600, 3600.0, True),
        (None, 3600.0, True),
    ],
)
def test_a_connection_is_kept_as_its_maximum_age_says(
    wrapper: BaseDatabaseWrapper,
    max_age: Callable[[int | None], None],
    seconds: int | None,
    pause: float,
    is_kept: bool,
) -> None:
    max_age(seconds)
    own = ConnectionKeeper()
    Dog.objects.exists()

    own.end_work(pause)

    assert (wrapper.connection is not None) is is_kept


def test_a_connection_that_is_in_use_is_replaced_when_it_is_old(
    wrapper: BaseDatabaseWrapper, max_age: Callable[[int | None], None]
) -> None:
    max_age(1)
    own = ConnectionKeeper()
    Dog.objects.exists()

    own.begin_work()
    assert wrapper.connection is not None

    def is_closed() -> bool:
        own.begin_work()
        return wrapper.connection is None

    wait_until(is_closed, "the connection stays open")


def test_a_connection_that_is_one_requests_is_replaced_after_a_while(
    wrapper: BaseDatabaseWrapper,
    max_age: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    max_age(0)
    own = ConnectionKeeper()
    Dog.objects.exists()
    monkeypatch.setattr(db_connections, "LONGEST_USE_SECONDS", 60.0)
    own.begin_work()
    assert wrapper.connection is not None

    monkeypatch.setattr(db_connections, "LONGEST_USE_SECONDS", 0.0)
    own.begin_work()

    assert wrapper.connection is None


@pytest.mark.parametrize("cause", ["work was broken off", "health checks", "a while"])
def test_a_connection_that_was_ended_in_use_is_replaced(
    wrapper: BaseDatabaseWrapper,
    max_age: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
) -> None:
    if wrapper.vendor == "sqlite":
        pytest.skip("SQLite has no connections that could be ended")
    max_age(0)
    if cause == "health checks":
        monkeypatch.setitem(wrapper.settings_dict, "CONN_HEALTH_CHECKS", True)
    if cause == "a while":
        monkeypatch.setattr(db_connections, "TRIED_SECONDS", 0.0)
    own = ConnectionKeeper()
    own.begin_work()
    Dog.objects.exists()
    if cause != "work was broken off":
        own.end_work(0)
    assert kill_connections(database_url()) > 0

    own.begin_work()

    assert not Dog.objects.exists()


@pytest.mark.any_database
def test_captured_queries_are_not_lost(wrapper: BaseDatabaseWrapper) -> None:
    with CaptureQueriesContext(wrapper) as captured:
        Dog.objects.exists()
        ConnectionKeeper().end_work(0)

    assert len(captured) == 1


def test_a_connection_that_was_ended_in_a_pause_is_replaced_before_work(
    wrapper: BaseDatabaseWrapper,
    max_age: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if wrapper.vendor == "sqlite":
        pytest.skip("SQLite has no connections that could be ended")
    max_age(None)
    own = ConnectionKeeper()
    Dog.objects.exists()
    assert kill_connections(database_url()) > 0

    monkeypatch.setattr(db_connections, "IDLE_SECONDS", 0.0)
    own.begin_work()

    assert not Dog.objects.exists()


def test_a_connection_in_a_transaction_is_left_alone(
    wrapper: BaseDatabaseWrapper,
) -> None:
    with transaction.atomic():
        Dog.objects.create(id=uuid4(), name="Fido")
        db_connections.close_connections()
        ConnectionKeeper().end_work(3600)

    assert Dog.objects.exists()


def test_a_projection_keeps_its_connection_while_events_follow_each_other(
    school: TrainingSchool, school_projection: Registration, opened: Opened
) -> None:
    assert connection.settings_dict["CONN_MAX_AGE"] == 0
    with running(school_projection, batch_size=1):
        for number in range(50):
            school.register(f"dog {number}")
        wait_for_dog("dog 49")

    # Two threads' first ones, and some for pauses on a machine that is busy.
    assert 2 <= opened.count <= 20


def test_a_projection_without_events_holds_no_connection(
    school: TrainingSchool,
    school_projection: Registration,
    opened: Opened,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # So that it is not renewed all the time.
    settings.ESDB_LEASE_SECONDS = 600
    with running(school_projection):
        school.register("Fido")
        wait_for_dog("Fido")
        wait_until(opened.are_closed, "connections stay open")
        school.register("Rex")
        wait_for_dog("Rex")

    assert caplog.records == []


@pytest.mark.any_database
def test_logged_queries_do_not_pile_up_in_any_thread(
    school: TrainingSchool,
    school_projection: Registration,
    opened: Opened,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.DEBUG = True
    settings.ESDB_LEASE_SECONDS = 1
    monkeypatch.setattr(decisions, "STANDBY_SECONDS", 0.01)
    monkeypatch.setattr(renewals, "RENEWALS", 100)
    with running(school_projection, batch_size=1), running(school_projection):
        for number in range(100):
            school.register(f"dog {number}")
        wait_for_dog("dog 99")
        # Of the batches, of the renewals and of the other's asking for the lease.
        wait_until(
            lambda: sum(log.total > 150 for log in opened.logs()) >= 3,
            "queries are not logged",
        )

    assert max(log.longest for log in opened.logs()) < 60


@pytest.mark.any_database
def test_logged_queries_do_not_pile_up_until_it_has_caught_up(
    school: TrainingSchool,
    registration: MakeRegistration,
    opened: Opened,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(term, "_CAUGHT_UP_POLL_SECONDS", 0.001)

    class Slow(TrainingSchoolView):
        def register_dog(self, dog_id: Any, name: str, tracking: Tracking) -> None:
            super().register_dog(dog_id, name, tracking)
            wait_until(lambda: any(log.total > 200 for log in opened.logs()))

    school.register("Fido")
    # Behind what others have written, of which looking through takes its time.
    catch_up(registration())
    school.register("Rex")
    with running(registration(view_class=Slow), until_caught_up=True) as this:
        this.thread.join()

    assert max(log.longest for log in opened.logs()) < 60


def test_threads_leave_no_connection_behind(
    school: TrainingSchool, registration: MakeRegistration, opened: Opened
) -> None:
    class Failing(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            assert not Dog.objects.exists()
            raise RuntimeError

    school.register("Fido")

    # What a user's own reporting may do.
    signals.projection_failed.connect(assert_no_dogs)

    errors = Worker(
        [registration(projection_class=Failing)], Options(until_caught_up=True)
    ).run()
    signals.projection_failed.disconnect(assert_no_dogs)

    assert len(errors) == 1
    assert opened.wrappers
    assert opened.are_closed()
    assert connection.connection is None or connection.vendor == "sqlite"


def test_a_view_of_another_kind_leaves_no_connection_behind(
    school: TrainingSchool,
    registration: MakeRegistration,
    opened: Opened,
    settings: Any,
) -> None:
    settings.ESDB_ENV = {"WRITING_PERSISTENCE_MODULE": "eventsourcing.popo"}

    class Writing(TrainingSchoolProjection):
        name = "Writing"

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            if not Dog.objects.exists():
                Dog.objects.create(id=uuid4(), name="Fido")
            self.view.insert_tracking(tracking)

    school.register("Fido")
    school.register("Rex")
    catch_up(registration(projection_class=Writing, view_class=POPOTrackingRecorder))

    assert Dog.objects.get().name == "Fido"
    assert opened.are_closed()


def test_waiting_outlives_its_connection(
    school: TrainingSchool, school_projection: Registration
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connections that could be ended")
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    position = school.register("Fido")
    assert not view.has_tracking_id(school.name, position)
    kill_connections(database_url())
    with running(school_projection):
        view.wait(school.name, position, timeout=30)

    assert Dog.objects.get().name == "Fido"


def test_waiting_under_a_name_that_is_not_registered_outlives_it_too(
    school: TrainingSchool,
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connections that could be ended")
    view = TrainingSchoolView("By hand")
    position = school.register("Fido")
    view.insert_tracking(Tracking(school.name, position))
    kill_connections(database_url())

    view.wait(school.name, position, timeout=30)

    assert view.has_tracking_id(school.name, position)


def assert_no_dogs(**kwargs: Any) -> None:
    assert not Dog.objects.exists()


def database_url() -> str:
    """Return where the test's own database is."""
    return with_name(DATABASE_URL, str(connection.settings_dict["NAME"]))
