"""A killed rebuild next to the rows in use continues, or the old rows stand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.databases import connected
from tests.support.processes import SECONDS
from tests.support.projects import Project
from tests.support.stores import school_at
from tests.support.supervising import wait_until
from tests.support.workers import command, wait_for_handler, wait_for_stop, worker

NAME = "TrainingSchoolProjection"
BESIDE = (NAME, "--beside", "--no-progress", "--batch-size", "1")
TABLES = "django_esdb.rebuilding.beside.tables"
COMMAND = "django_esdb.management.commands._rebuild_beside"

# Where it is killed, and whether the rows have switched by then.
PLACES = {
    "before tables": (f"{TABLES}:drop_tables:1", False),
    "between tables": (f"{TABLES}:_create:4", False),
    "before the switch": (f"{COMMAND}:switch:1", False),
    "in the switch": ("django_esdb.db.exchanging:_insertion:2", False),
    "at the switch's end": (
        "django_esdb.rebuilding.beside.switching:_changes:1",
        False,
    ),
    "before tables are dropped": (f"{COMMAND}:finish_ended:2", True),
    "between tables that are dropped": (f"{TABLES}:_drop:2", True),
}
# Where no statement is under way.
BETWEEN = {"before tables", "before the switch", "before tables are dropped"}


def rows(project: Project) -> tuple[list[str], tuple[int, int]]:
    return rows_by(project.query)


def rows_by(query: Callable[[str], Any]) -> tuple[list[str], tuple[int, int]]:
    found = query("SELECT name FROM training_school_dog ORDER BY name")
    [counts] = query("SELECT dogs, tricks FROM training_school_schoolcounts")
    return [name for (name,) in found], counts


def is_nothing_left(project: Project) -> bool:
    [[count]] = project.query("SELECT COUNT(*) FROM django_esdb_rebuildbeside")
    for table in ("training_school_dog", "training_school_schoolcounts"):
        with pytest.raises(Exception, match=r"(?i)no such|n.t exist"):
            project.query(f"SELECT COUNT(*) FROM {table}__beside")
    return count == 0 and len(project.query(_TRACKED)) == 1


_TRACKED = "SELECT projection FROM django_esdb_projectiontracking"
_POSITION = (
    f"SELECT position FROM django_esdb_projectiontracking WHERE projection = '{NAME}'"
)


def spoil(project: Project, name: str) -> None:
    """Give the row of a dog another name, as a bug in a handler might have."""
    with (
        connected(project.env["DATABASE_URL"]) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute(
            f"UPDATE training_school_dog SET name = 'wrong' WHERE name = '{name}'"
        )


@pytest.fixture
def faulty(project: Project, tmp_path: Path) -> Project:
    """A project whose handlers do what tricks are named; with ``go`` nothing waits."""
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.fault_injection.settings"
    project.env["FAULTS_DIRECTORY"] = str(tmp_path)
    (tmp_path / "go").touch()
    return project


@pytest.fixture
def spoilt(faulty: Project, server: EmbeddedServer) -> Project:
    """The same whose projection has a wrong row."""
    project = faulty
    with school_at(server) as school:
        school.register("Fido")
        school.register("Rex")
        school.add_trick("Fido", "crash")
        school.add_trick("Fido", "sit")
    project.manage("runprojections", "--until-caught-up")
    spoil(project, "Rex")
    assert rows(project) == (["Fido", "wrong"], (2, 2))
    return project


@contextmanager
def seen_by_readers(project: Project) -> Iterator[list[tuple[list[str], object]]]:
    """What another connection reads all the time, each change of it once."""
    seen: list[tuple[list[str], object]] = []
    ended = threading.Event()

    def read() -> None:
        with (
            connected(project.env["DATABASE_URL"]) as connection,
            closing(connection.cursor()) as cursor,
        ):

            def query(sql: str) -> Any:
                cursor.execute(sql)
                return list(cursor.fetchall())

            while True:
                is_over = ended.is_set()
                found = rows_by(query)
                if not seen or seen[-1] != found:
                    seen.append(found)
                if is_over:
                    return
                # Less than it took to connect anew each time, and no work.
                ended.wait(0.002)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(SECONDS)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=pytest.mark.any_database)
        if place in BETWEEN
        else place
        for place in PLACES
    ],
)
def test_wherever_it_is_killed_it_goes_on_or_the_old_rows_stand(
    spoilt: Project, server: EmbeddedServer, place: str
) -> None:
    where, has_switched = PLACES[place]
    spoilt.env["FAULTS_KILL_AT"] = where
    killed = spoilt.manage("rebuildprojection", *BESIDE, check=False)
    assert killed.returncode == -9
    del spoilt.env["FAULTS_KILL_AT"]
    names = ["Fido", "Rex"] if has_switched else ["Fido", "wrong"]
    assert rows(spoilt) == (names, (2, 2))
    # Workers continue with the rows in use at once.
    with school_at(server) as school:
        last = school.register("Spot")
    said = spoilt.manage("runprojections", "--until-caught-up").stdout
    assert (f"Dropped what a former rebuild of {NAME} has left" in said) == has_switched
    assert rows(spoilt) == (sorted([*names, "Spot"]), (3, 2))

    spoilt.manage("rebuildprojection", *BESIDE)

    assert rows(spoilt) == (["Fido", "Rex", "Spot"], (3, 2))
    ((position,),) = spoilt.query(_POSITION)
    # Or beyond, where others have written meanwhile.
    assert position >= last
    assert is_nothing_left(spoilt)


def test_killed_in_the_middle_it_goes_on_or_is_aborted_while_readers_see_old_rows(
    spoilt: Project, server: EmbeddedServer, tmp_path: Path
) -> None:
    old, new = (["Fido", "wrong"], (2, 2)), (["Fido", "Rex"], (2, 2))
    with seen_by_readers(spoilt) as seen:
        (tmp_path / "go").unlink()
        for _ in range(2):
            killed = spoilt.manage("rebuildprojection", *BESIDE, check=False)
            assert killed.returncode == -9
        assert "has stopped at" in spoilt.manage("showprojections", check=False).stdout
        aborted = spoilt.manage("rebuildprojection", NAME, "--abort").stdout
        assert "the rows in use stand" in aborted
        assert is_nothing_left(spoilt)
        spoilt.manage("rebuildprojection", *BESIDE, check=False)
        (tmp_path / "go").touch()
        said = spoilt.manage("rebuildprojection", *BESIDE).stdout
        assert f"Continuing to build {NAME}" in said
        assert rows(spoilt) == new
    assert seen == [old, new]
    assert is_nothing_left(spoilt)


def test_what_is_saved_meanwhile_is_in_both(
    spoilt: Project, server: EmbeddedServer, tmp_path: Path
) -> None:
    with worker(spoilt) as running:
        running.wait_for(f"Running {NAME}")
        with command(spoilt, "rebuildprojection", *BESIDE) as rebuild:
            rebuild.wait_for("Building")
            with school_at(server) as school:
                school.register("Spot")
            assert rebuild.status() == 0
        wait_until(lambda: rows(spoilt) == (["Fido", "Rex", "Spot"], (3, 2)))
        with school_at(server) as school:
            school.add_trick("Rex", "sit")
        wait_until(lambda: rows(spoilt)[1] == (3, 3))
        assert running.terminate() == 0
    assert is_nothing_left(spoilt)


# It ends between two batches, with nothing under way in the database.
@pytest.mark.any_database
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_it_goes_on(
    faulty: Project, server: EmbeddedServer, tmp_path: Path, number: signal.Signals
) -> None:
    with school_at(server) as school:
        school.register("Fido")
        for trick in ("wait", "wait", "sit"):
            school.add_trick("Fido", trick)
    faulty.manage("runprojections", "--until-caught-up")
    spoil(faulty, "Fido")
    old = rows(faulty)
    (tmp_path / "go").unlink()
    with command(faulty, "rebuildprojection", *BESIDE) as rebuild:
        wait_for_handler(tmp_path, rebuild)
        rebuild.process.send_signal(number)
        wait_for_stop(tmp_path, rebuild)
        (tmp_path / "go").touch()
        assert rebuild.status() == 1
    [said] = [line for line in rebuild.lines if "is stopped" in line]
    assert "The same command continues" in said
    assert rows(faulty) == old

    assert f"Continuing to build {NAME}" in (
        faulty.manage("rebuildprojection", *BESIDE).stdout
    )
    assert rows(faulty) == (["Fido"], (1, 3))
    assert is_nothing_left(faulty)
