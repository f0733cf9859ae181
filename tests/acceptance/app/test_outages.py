"""Databases that restart, and connections that are ended, while projections run."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.connections import kill_connections, open_connections
from tests.support.database_servers import (
    DatabaseServer,
    MariaDBServer,
    PostgreSQLServer,
    database_server,
)
from tests.support.databases import connected, new_database
from tests.support.processes import SECONDS, Watched
from tests.support.projects import Project, example
from tests.support.running_stores import store_variables
from tests.support.stores import school_at
from tests.support.workers import is_sqlite, worker

INTERRUPTED = "Projection interrupted"
STANDBY_INTERRUPTED = "Standing by was interrupted"

WAIT = """
from example_project.training_school.projections import *
view = TrainingSchoolView(TrainingSchoolProjection.name)
view.wait("TrainingSchool", {position}, timeout={seconds})
print("seen")
"""


@pytest.fixture(params=[PostgreSQLServer, MariaDBServer], ids=["PostgreSQL", "MariaDB"])
def database(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A database server that may crash."""
    if reason := request.param.missing():
        pytest.skip(reason)
    with database_server(request.param) as database:
        yield database


@pytest.fixture
def crashing(
    database: DatabaseServer, server: EmbeddedServer, tmp_path: Path
) -> Iterator[Project]:
    """The example project on a database server that may crash."""
    with new_database(database.url, tmp_path) as url:
        project = example(url, server.uri)
        project.env |= store_variables(server)
        yield project


@pytest.fixture
def lasting(project: Project) -> Project:
    """The example project on a database server that outlives the test."""
    if is_sqlite(project):
        pytest.skip("SQLite has no connections that could be ended")
    return project


@pytest.fixture
def writing(server: EmbeddedServer) -> Iterator[TrainingSchool]:
    with school_at(server) as school:
        yield school


class Writer:
    """
    Registers dogs that learn tricks, until the block ends.

    Attributes:
        last: The last event's position.
        dogs: How many dogs know so many tricks each, by now.
    """

    tricks = 3

    def __init__(self, school: TrainingSchool, pause: float = 0.01) -> None:
        self.last: int | None = None
        self.dogs = 0
        self._school = school
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_for_more(self) -> None:
        """Wait until some more is written."""
        enough = self.dogs + 10
        wait_until(lambda: self.dogs >= enough)

    def _write(self) -> None:
        while not self._stopping.wait(self._pause):
            name = f"dog {self.dogs}"
            self._school.register(name)
            for number in range(self.tricks):
                self.last = self._school.add_trick(name, f"trick {number}")
            self.dogs += 1


def wait_until(condition: Callable[[], Any], what: Any = "") -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what or "it did not come to that"
        time.sleep(0.05)


def wait_for_position(project: Project, last: int | None) -> None:
    assert last is not None
    wait_until(lambda: (project.position() or 0) >= last, "events are not processed")


def assert_exact(project: Project, dogs: int, tricks: int) -> None:
    """See to it that each event was processed once."""
    counts = project.query("SELECT dogs, tricks FROM training_school_schoolcounts")
    assert counts == [(dogs, dogs * tricks)]
    found = [
        json.loads(value) if isinstance(value, str) else value
        for (value,) in project.query("SELECT tricks FROM training_school_dog")
    ]
    assert found == [[f"trick {n}" for n in range(tricks)]] * dogs


@contextmanager
def owner_and_standby(project: Project) -> Iterator[tuple[Watched, Watched]]:
    with ExitStack() as stack:
        owner = stack.enter_context(worker(project))
        owner.wait_for("Running")
        standby = stack.enter_context(worker(project))
        standby.wait_for("Standing by for")
        yield owner, standby


def lines(this: Watched, text: str) -> int:
    return sum(text in line for line in this.lines)


@pytest.mark.slow("crashes a database server three times")
def test_restarts_under_live_writes(
    crashing: Project, database: DatabaseServer, writing: TrainingSchool
) -> None:
    restarts = 3
    with owner_and_standby(crashing) as workers, Writer(writing) as writer:

        def interruptions() -> int:
            return sum(lines(this, INTERRUPTED) for this in workers)

        for _ in range(restarts):
            writer.wait_for_more()
            before = interruptions()
            database.crash()
            wait_until(lambda before=before: interruptions() > before)
            # Long enough for several attempts.
            time.sleep(1)
            database.start()
            writer.wait_for_more()
            wait_for_position(crashing, writer.last)
        writer.__exit__()
        wait_for_position(crashing, writer.last)
        assert [this.terminate() for this in workers] == [0, 0]

    assert_exact(crashing, writer.dogs, writer.tricks)
    for this in workers:
        assert lines(this, INTERRUPTED) <= restarts, this.lines
        assert lines(this, STANDBY_INTERRUPTED) <= restarts, this.lines
    assert interruptions() >= restarts


@pytest.mark.slow("makes a database server and crashes it")
def test_a_restart_while_nothing_happens(
    crashing: Project, database: DatabaseServer, writing: TrainingSchool
) -> None:
    first = writing.register("dog 0")
    with owner_and_standby(crashing) as workers:
        wait_for_position(crashing, first)
        database.crash()
        database.start()
        wait_for_position(crashing, writing.register("dog 1"))
        assert [this.terminate() for this in workers] == [0, 0]

    assert_exact(crashing, dogs=2, tricks=0)


@pytest.mark.slow("makes a database server")
def test_who_is_not_let_in_for_a_while_goes_on_afterwards(
    crashing: Project, database: DatabaseServer, writing: TrainingSchool
) -> None:
    url = crashing.env["DATABASE_URL"]
    is_postgresql = url.startswith("postgres")
    let_in, shut_out = (
        ("ALTER ROLE guest LOGIN", "ALTER ROLE guest NOLOGIN")
        if is_postgresql
        else ("ALTER USER guest ACCOUNT UNLOCK", "ALTER USER guest ACCOUNT LOCK")
    )
    with connected(database.url) as admin, closing(admin.cursor()) as cursor:
        if is_postgresql:
            cursor.execute("CREATE ROLE guest SUPERUSER LOGIN")
        else:
            cursor.execute("CREATE USER guest")
            cursor.execute("GRANT ALL ON *.* TO guest")
        own = re.sub("//[a-z]+@", "//guest@", url)
        crashing.env["DATABASE_URL"] = own
        first = writing.register("dog 0")
        with owner_and_standby(crashing) as workers:
            wait_for_position(crashing, first)
            cursor.execute(shut_out)
            kill_connections(url)
            writing.register("dog 1")
            wait_until(lambda: any(lines(this, INTERRUPTED) for this in workers))
            # Long enough for several attempts.
            time.sleep(2)
            cursor.execute(let_in)
            wait_for_position(crashing, writing.register("dog 2"))
            assert [this.terminate() for this in workers] == [0, 0]

    assert_exact(crashing, dogs=3, tricks=0)


@pytest.mark.slow("makes a database server and crashes it")
def test_a_page_that_waits_outlives_a_restart(
    crashing: Project, database: DatabaseServer, writing: TrainingSchool
) -> None:
    code = WAIT.format(position=writing.register("dog 0"), seconds=SECONDS)
    printed: list[str] = []
    thread = threading.Thread(target=lambda: printed.append(crashing.python(code)))
    thread.start()
    wait_until(lambda: open_connections(crashing.env["DATABASE_URL"]) > 0)
    database.crash()
    # Meanwhile it polls without success.
    time.sleep(0.5)
    database.start()
    assert printed == []
    crashing.manage("runprojections", "--until-caught-up")
    thread.join()

    assert printed == ["seen\n"]


@pytest.mark.slow("makes a database server and crashes it")
def test_a_page_that_waits_says_so_if_the_database_stays_away(
    crashing: Project, database: DatabaseServer, writing: TrainingSchool
) -> None:
    code = WAIT.format(position=writing.register("dog 0"), seconds=0.2)
    database.crash()
    with pytest.raises(AssertionError, match="OperationalError"):
        crashing.python(code)
    database.start()


@pytest.mark.slow("ends connections ten times while events are written")
def test_connections_that_are_ended_again_and_again(
    lasting: Project, writing: TrainingSchool
) -> None:
    with owner_and_standby(lasting) as workers, Writer(writing) as writer:
        owner, standby = workers
        for _ in range(10):
            writer.wait_for_more()
            kill_connections(lasting.env["DATABASE_URL"])
        writer.__exit__()
        wait_for_position(lasting, writer.last)
        assert standby.terminate() == 0
        assert owner.terminate() == 0

    assert_exact(lasting, writer.dogs, writer.tricks)
    # The lease was kept.
    assert lasting.query("SELECT token FROM django_esdb_projectiontracking") == [(1,)]
    assert lines(owner, INTERRUPTED) <= 10, owner.lines
    assert lines(standby, STANDBY_INTERRUPTED) <= 10, standby.lines


def test_a_connection_that_is_ended_within_a_batch(
    lasting: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    lasting.env["DJANGO_SETTINGS_MODULE"] = "tests.support.fault_injection.settings"
    lasting.env["FAULTS_DIRECTORY"] = str(tmp_path)
    writing.register("Fido")
    last = writing.add_trick("Fido", "wait")
    with worker(lasting) as this:
        wait_until(lambda: list(tmp_path.glob("waiting-*")))
        assert kill_connections(lasting.env["DATABASE_URL"]) > 0
        (tmp_path / "go").touch()
        wait_for_position(lasting, last)
        assert this.terminate() == 0

    assert lines(this, INTERRUPTED) == 1
    counts = lasting.query("SELECT dogs, tricks FROM training_school_schoolcounts")
    assert counts == [(1, 1)]


@pytest.mark.slow("waits until connections count as unused")
def test_connections_that_are_ended_while_nothing_happens_are_not_missed(
    lasting: Project, writing: TrainingSchool
) -> None:
    url = lasting.env["DATABASE_URL"]
    # Held through pauses of any length.
    lasting.env["DATABASE_URL"] += ("&" if "?" in url else "?") + "conn_max_age=600"
    with worker(lasting) as this:
        this.wait_for("Running")
        wait_for_position(lasting, writing.register("dog 0"))
        # A pause after which connections are tried before they are used.
        time.sleep(6)
        assert kill_connections(url) > 0
        wait_for_position(lasting, writing.register("dog 1"))
        assert this.terminate() == 0

    assert not any("interrupted" in line for line in this.lines), this.lines
