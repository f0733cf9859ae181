"""Which errors are an event's, and which may pass: by what databases say."""

from __future__ import annotations

import random
import sqlite3
import string
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError as DatabaseOperationalError
from django.db import connection
from eventsourcing.persistence import OperationalError, Tracking

from django_esdb.db.errors import Cause, cause_of, is_transient
from django_esdb.exceptions import EventError, ProjectionError
from django_esdb.models import (
    FailedEvent,
    ProjectionState,
    ProjectionTracking,
    SkippedEvent,
)
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.failed_events import tricks
from tests.support.processes import ended_owner
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mysql"
PACKET_BYTES = 17 * 1024 * 1024


Case = tuple[str, Any, Callable[[], None]]


def each_of(cases: list[Case]) -> Any:
    """Parametrize with what provokes it; what other databases say is left out."""
    return pytest.mark.parametrize(
        "provoke",
        [
            pytest.param(
                provoke,
                id=f"{vendor}-{what}",
                # Before a store is made for it.
                marks=pytest.mark.skipif(
                    connection.vendor != vendor, reason=f"of {vendor}"
                ),
            )
            for vendor, what, provoke in cases
        ],
    )


def do(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def raise_state(state: str) -> None:
    """Have PostgreSQL raise an error with this code."""
    do(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{state}'; END $$")


def raise_number(number: int) -> None:
    """Have MariaDB raise an error with this code."""
    do(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'as asked'")


def too_long_for_an_index() -> None:
    do("CREATE TEMPORARY TABLE long_texts (words text PRIMARY KEY)")
    words = "".join(random.choices(string.ascii_letters, k=9000))
    do("INSERT INTO long_texts VALUES (%s)", words)


def emoji_in_three_bytes() -> None:
    do("CREATE TEMPORARY TABLE narrow (word varchar(9) CHARACTER SET utf8mb3)")
    do("INSERT INTO narrow VALUES (%s)", "\N{DOG FACE}")


def locked_elsewhere() -> None:
    path = str(connection.settings_dict["NAME"])
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")


def write_read_only() -> None:
    do("PRAGMA query_only = 1")
    try:
        do("DELETE FROM django_esdb_failedevent")
    finally:
        do("PRAGMA query_only = 0")


def lose_connection() -> None:
    """End the connection, as a server does that goes away."""
    if connection.vendor == POSTGRESQL:
        do("SELECT pg_terminate_backend(pg_backend_pid())")
    elif connection.vendor == MARIADB:
        do("KILL CONNECTION_ID()")
    else:
        raise DatabaseOperationalError("it is away")
    do("SELECT 1")


class ProvokingProjection(TrainingSchoolProjection):
    """Does what it is told at the trick «provoke», some times."""

    name = "Provoking"
    provoke: Callable[[], None]
    times = 0
    calls = 0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if getattr(domain_event, "trick", "") == "provoke":
            cls = type(self)
            cls.calls += 1
            if cls.calls <= cls.times:
                cls.provoke()


@pytest.fixture
def provoking(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Registration]]:
    """Make a registration of the projection that meets an error so many times."""
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(decisions, "LONGEST_PAUSE_SECONDS", 0.1)

    def make(provoke: Callable[[], None], times: int, **options: Any) -> Registration:
        monkeypatch.setattr(
            ProvokingProjection, "provoke", staticmethod(provoke), raising=False
        )
        monkeypatch.setattr(ProvokingProjection, "times", times)
        monkeypatch.setattr(ProvokingProjection, "calls", 0)
        return registration(projection_class=ProvokingProjection, **options)

    return make


def write(school: TrainingSchool) -> int:
    for name in ("Fido", "Rex"):
        school.register(name)
    school.add_trick("Rex", "roll")
    school.add_trick("Fido", "provoke")
    last = school.add_trick("Rex", "sit")
    assert last is not None
    return last


def process(registration: Registration, last: int) -> None:
    """Run the projection until it has processed all."""
    with running(registration):
        wait_until(lambda: (tracking().position or 0) >= last)


# The event's

EVENTS: list[Case] = [
    *(
        (vendor, what, lambda sql=sql: do(sql))  # type: ignore[misc]
        for vendor in (SQLITE, POSTGRESQL, MARIADB)
        for what, sql in (
            ("a table that is missing", "SELECT 1 FROM nowhere"),
            ("a column that is missing", "SELECT nothing FROM django_esdb_failedevent"),
        )
    ),
    (SQLITE, "a wrong regex", lambda: do("SELECT 'a' REGEXP '('")),
    (POSTGRESQL, "a wrong regex", lambda: do("SELECT 'a' ~ '('")),
    (MARIADB, "a wrong regex", lambda: do("SELECT 'a' REGEXP '('")),
    (POSTGRESQL, "an index entry too long", too_long_for_an_index),
    (MARIADB, "emoji in three bytes", emoji_in_three_bytes),
    (MARIADB, "a packet too big", lambda: do("SELECT %s", "x" * PACKET_BYTES)),
    (
        SQLITE,
        "too many variables",
        lambda: do(f"SELECT {','.join(['%s'] * 260_000)}", *range(260_000)),
    ),
]


@each_of(EVENTS)
def test_what_was_asked_for_is_the_events(
    school: TrainingSchool,
    provoking: Callable[..., Registration],
    provoke: Callable[[], None],
) -> None:
    last = write(school)

    process(provoking(provoke, 99, on_failure=OnFailure.PARK), last)

    assert FailedEvent.objects.count() == 1
    assert (tricks("Fido"), tricks("Rex")) == ([], ["roll", "sit"])


# What may pass

PASSING: list[Case] = [
    *(
        (POSTGRESQL, state, lambda state=state: raise_state(state))  # type: ignore[misc]
        for state in (
            *("25006", "25P03", "40001", "40P01", "53100", "53300", "55P03"),
            *("57P01", "57P02", "57P03", "08006", "58030"),
        )
    ),
    *(
        (MARIADB, number, lambda number=number: raise_number(number))  # type: ignore[misc]
        for number in (
            *(6, 1016, 1021, 1040, 1053, 1114, 1180, 1205, 1213, 1290, 1412, 1836),
            1927,
        )
    ),
    (SQLITE, "busy", locked_elsewhere),
    (SQLITE, "read-only", write_read_only),
    *(
        (vendor, "connection lost", lose_connection)
        for vendor in (SQLITE, POSTGRESQL, MARIADB)
    ),
]


@each_of(PASSING)
def test_what_may_pass_is_no_events(
    school: TrainingSchool,
    provoking: Callable[..., Registration],
    provoke: Callable[[], None],
) -> None:
    last = write(school)

    process(provoking(provoke, 2, on_failure=OnFailure.SKIP), last)

    assert tricks("Fido") == ["provoke"]
    assert tricks("Rex") == ["roll", "sit"]


LOCKS = [
    each
    for each in PASSING
    if each[1] in ("55P03", "40P01", "40001", 1205, 1213, "busy")
]


@each_of(LOCKS)
def test_a_lock_is_never_an_events_failure(
    school: TrainingSchool,
    provoking: Callable[..., Registration],
    provoke: Callable[[], None],
) -> None:
    last = write(school)

    process(provoking(provoke, 9, on_failure=OnFailure.SKIP), last)

    assert tricks("Fido") == ["provoke"]


@pytest.mark.parametrize(
    "provoke",
    [
        lose_connection,
        lambda: (_ for _ in ()).throw(OperationalError("the store is away")),
    ],
    ids=["database", "store"],
)
def test_what_does_not_pass_is_the_events_in_the_end(
    school: TrainingSchool,
    provoking: Callable[..., Registration],
    provoke: Callable[[], None],
) -> None:
    last = write(school)

    process(provoking(provoke, 999, on_failure=OnFailure.PARK), last)

    assert FailedEvent.objects.count() == 1
    assert (tricks("Fido"), tricks("Rex")) == ([], ["roll", "sit"])
    assert ProvokingProjection.calls > 3


def test_an_outage_that_the_handler_has_caught_is_still_one(
    school: TrainingSchool, provoking: Callable[..., Registration]
) -> None:
    last = write(school)
    attempts: list[int] = []

    class View(TrainingSchoolView):
        def add_trick(self, dog_id: Any, trick: str, tracking: Tracking) -> None:
            attempts.append(tracking.notification_id)
            if trick == "provoke" and attempts.count(tracking.notification_id) < 3:
                try:
                    with self.atomic(tracking):
                        lose_connection()
                except Exception:
                    return
            super().add_trick(dog_id, trick, tracking)

    registration = provoking(lambda: None, 0, on_failure=OnFailure.SKIP)
    object.__setattr__(registration, "view_class", View)

    process(registration, last)

    assert tricks("Fido") == ["provoke"]


@each_of(LOCKS)
def test_a_lock_that_the_handler_has_caught_is_no_failure_of_what_follows(
    school: TrainingSchool,
    provoking: Callable[..., Registration],
    provoke: Callable[[], None],
) -> None:
    last = write(school)

    def go_on() -> None:
        try:
            provoke()
        except DatabaseOperationalError:
            Dog.objects.count()

    process(provoking(go_on, 9, on_failure=OnFailure.SKIP), last)

    assert tricks("Fido") == ["provoke"]


# Batches


def test_events_before_the_failing_one_are_committed(
    school: TrainingSchool, provoking: Callable[..., Registration]
) -> None:
    write(school)

    def fail() -> None:
        raise DatabaseOperationalError("it is away")

    with running(provoking(fail, 999)) as supervisor:
        supervisor.wait_for("paused")

    assert tricks("Rex") == ["roll"]


@pytest.mark.parametrize("is_known", [True, False], ids=["error", "lost connection"])
def test_a_batch_that_is_too_big_is_halved(
    school: TrainingSchool, registration: MakeRegistration, is_known: bool
) -> None:
    school.register("Fido")
    for number in range(20):
        last = school.add_trick("Fido", f"trick {number}")

    class View(TrainingSchoolView):
        def add_trick(self, dog_id: Any, trick: str, tracking: Tracking) -> None:
            super().add_trick(dog_id, trick, tracking)
            if self.seen is not self._current.batch:
                self.seen, self.events = self._current.batch, 0
            self.events += 1
            if self.events > 3:
                if is_known:
                    msg = "too much at once"
                    raise ValueError(msg)
                lose_connection()

        seen: Any = None
        events = 0

    catch_up(registration(view_class=View))

    assert tracking().position >= last
    assert tricks("Fido") == [f"trick {number}" for number in range(20)]


# What no event is to blame for

_REFUSING = {
    SQLITE: """
        CREATE TRIGGER refusing BEFORE UPDATE OF position
        ON django_esdb_projectiontracking
        BEGIN SELECT RAISE(ABORT, 'not moved'); END
    """,
    POSTGRESQL: """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'not moved'; END $$;
        CREATE TRIGGER refusing BEFORE UPDATE OF position
        ON django_esdb_projectiontracking FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
    MARIADB: """
        CREATE TRIGGER refusing BEFORE UPDATE ON django_esdb_projectiontracking
        FOR EACH ROW IF NOT (NEW.position <=> OLD.position) THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not moved'; END IF
    """,
}


@pytest.fixture
def _refusing() -> Iterator[None]:
    """Have the database refuse to move positions."""
    do(_REFUSING[connection.vendor])
    yield
    if connection.vendor == POSTGRESQL:
        do("DROP FUNCTION refuse CASCADE")
    else:
        do("DROP TRIGGER refusing")


@pytest.mark.usefixtures("_refusing")
@pytest.mark.parametrize("policy", OnFailure)
def test_no_event_is_blamed_where_the_position_cannot_be_moved(
    school: TrainingSchool, provoking: MakeRegistration, policy: OnFailure
) -> None:
    school.register("Fido")
    registration = provoking(lambda: None, 0, on_failure=policy)

    with pytest.raises(ProjectionError, match="not moved") as failed:
        catch_up(registration)

    assert not isinstance(failed.value, EventError)
    assert tracking().state == ProjectionState.STOPPED
    assert not FailedEvent.objects.exists()
    assert not SkippedEvent.objects.exists()


# Single errors


def test_a_cause_counts_where_an_error_only_wraps_it() -> None:
    wrapped = OperationalError("of the library")
    driver = sqlite3.OperationalError("no such table")
    driver.sqlite_errorcode = sqlite3.SQLITE_ERROR
    wrapped.__cause__ = driver
    other = RuntimeError("of a handler")
    other.__cause__ = OperationalError("it is away")

    assert cause_of(wrapped) is Cause.EVENT
    assert cause_of(other) is Cause.EVENT
    assert is_transient(OperationalError("it is away"))
    assert cause_of(DatabaseOperationalError(1205, "wait")) is Cause.LOCK
    assert cause_of(DatabaseOperationalError()) is Cause.OUTAGE
    assert cause_of(SystemExit(1205)) is Cause.EVENT


@pytest.mark.parametrize("number", [1044, 1045, 1049, 1130, 1698, 3118, 4151])
def test_who_is_not_let_in_may_be_later(number: int) -> None:
    assert cause_of(DatabaseOperationalError(number, "not let in")) is Cause.OUTAGE


@pytest.mark.parametrize("state", ["28000", "28P01", "3D000"])
def test_who_is_not_let_in_by_a_server_that_says_why_may_be_later(state: str) -> None:
    error = DatabaseOperationalError("not let in")
    error.sqlstate = state  # type: ignore[attr-defined]

    assert cause_of(error) is Cause.OUTAGE


def test_events_before_one_that_meets_a_lock_are_committed(
    school: TrainingSchool, provoking: Callable[..., Registration]
) -> None:
    write(school)
    provoke = {
        POSTGRESQL: lambda: raise_state("55P03"),
        MARIADB: lambda: raise_number(1205),
        # As a thread of the handler's own does, on its own connection.
        SQLITE: locked_elsewhere,
    }[connection.vendor]

    with running(provoking(provoke, 99, on_failure=OnFailure.SKIP)):
        wait_until(lambda: Dog.objects.count() == 2 and tricks("Rex") == ["roll"])
        wait_until(lambda: ProvokingProjection.calls > 12)
        assert not SkippedEvent.objects.exists()
        ProvokingProjection.times = 0
        wait_until(lambda: tricks("Rex") == ["roll", "sit"])

    assert tricks("Fido") == ["provoke"]


@pytest.mark.any_database
def test_an_outage_after_the_end_of_a_process_is_no_end_of_one(
    school: TrainingSchool, provoking: Callable[..., Registration]
) -> None:
    def fail() -> None:
        raise DatabaseOperationalError(1205, "the lock stays")

    registration = provoking(fail, 10**6, on_failure=OnFailure.SKIP)
    school.register("Fido")
    catch_up(registration)
    last = school.add_trick("Fido", "provoke")

    owner = ended_owner()
    for _ in range(5):
        # It was killed, between two attempts at what is locked.
        ProjectionTracking.objects.update(owner=owner)
        before = ProvokingProjection.calls
        with running(registration):
            wait_until(lambda calls=before: ProvokingProjection.calls > calls + 1)  # type: ignore[misc]
    ProvokingProjection.times = 0
    with running(registration):
        wait_until(lambda: (tracking().position or 0) >= last)

    assert not SkippedEvent.objects.exists()
    assert tricks("Fido") == ["provoke"]


def test_a_circle_of_causes_has_an_end() -> None:
    error, other = OperationalError("it is away"), OperationalError("so is this")
    error.__cause__, other.__cause__ = other, error

    assert cause_of(error) is Cause.OUTAGE


def test_only_databases_errors_have_their_codes() -> None:
    class ServiceError(Exception):
        sqlstate = "40001"

    class Psycopg2Error(Exception):
        __module__ = "psycopg2.errors"
        pgcode = "40P01"

    assert cause_of(ServiceError()) is Cause.EVENT
    assert cause_of(Psycopg2Error()) is Cause.LOCK
