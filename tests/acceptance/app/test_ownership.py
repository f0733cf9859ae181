"""Several ``runprojections`` processes, of which one at a time is the owner."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.processes import SECONDS, Watched
from tests.support.projects import Project
from tests.support.stores import school_at
from tests.support.workers import (
    is_sqlite,
    suspend_outside_of_transaction,
    wait_for_handler,
    wait_for_stop,
    worker,
)

SIGNALS = [
    signal.SIGTERM,
    pytest.param(signal.SIGINT, marks=pytest.mark.any_database),
]
_TRACKED = ("position", "state", "error", "owner", "token")


@pytest.fixture
def hooked(project: Project, tmp_path: Path) -> Project:
    """The project with handlers that do as the test says."""
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.fault_injection.settings"
    project.env["FAULTS_DIRECTORY"] = str(tmp_path)
    project.env["ESDB_LEASE_SECONDS"] = "60"
    return project


@pytest.fixture
def writing(server: EmbeddedServer) -> Iterator[TrainingSchool]:
    """The school as another process writes to it."""
    with school_at(server) as school:
        yield school


def state(project: Project) -> dict[str, Any]:
    """Return what the database says, read as no process of the project reads it."""
    (tracked,) = project.query(
        f"SELECT {', '.join(_TRACKED)} FROM django_esdb_projectiontracking"
    ) or [(None,) * len(_TRACKED)]
    dogs = project.query("SELECT name, tricks FROM training_school_dog")
    counts = project.query("SELECT dogs, tricks FROM training_school_schoolcounts")
    failed = project.query("SELECT error FROM django_esdb_failedevent")
    return {
        **dict(zip(_TRACKED, tracked, strict=True)),
        "tricks": {
            name: json.loads(tricks) if isinstance(tricks, str) else tricks
            for name, tricks in dogs
        },
        "counts": [list(row) for row in counts],
        "failed": [error for (error,) in failed],
    }


def wait_until(
    project: Project, condition: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    end = time.monotonic() + SECONDS
    while not condition(found := state(project)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_another_process_stands_by_and_takes_over_at_once_after_a_good_stop(
    hooked: Project, writing: TrainingSchool
) -> None:
    writing.register("Fido")
    with worker(hooked) as first:
        first.wait_for("Running TrainingSchoolProjection")
        with worker(hooked) as second:
            second.wait_for("Standing by for TrainingSchoolProjection, which")
            assert f":{first.process.pid}:" in second.lines[0]
            assert first.terminate() == 0
            # Its lease would have lasted a minute more.
            second.wait_for("Running TrainingSchoolProjection")
            last = writing.add_trick("Fido", "sit")
            wait_until(hooked, lambda found: (found["position"] or 0) >= last)
            assert second.terminate() == 0

    assert state(hooked)["counts"] == [[1, 1]]
    assert (state(hooked)["state"], state(hooked)["owner"]) == ("stopped", "")


def test_a_killed_process_of_this_machine_is_replaced_at_once(
    hooked: Project, writing: TrainingSchool
) -> None:
    with worker(hooked) as first, worker(hooked) as second:
        running, standing = wait_for_roles(first, second)
        running.process.kill()
        standing.wait_for("Running TrainingSchoolProjection")
        last = writing.register("Fido")
        wait_until(hooked, lambda found: (found["position"] or 0) >= last)


def test_a_suspended_owner_is_replaced_and_stands_by_when_it_comes_back(
    hooked: Project, writing: TrainingSchool
) -> None:
    hooked.env["ESDB_LEASE_SECONDS"] = "2"
    writing.register("Fido")
    with worker(hooked) as first, worker(hooked) as second:
        running, standing = wait_for_roles(first, second)
        suspend_outside_of_transaction(hooked, running)
        standing.wait_for("Running TrainingSchoolProjection")
        last = writing.add_trick("Fido", "sit")
        wait_until(hooked, lambda found: (found["position"] or 0) >= last)
        running.resume()
        running.wait_for("Standing by")
        last = writing.add_trick("Fido", "roll")
        wait_until(hooked, lambda found: (found["position"] or 0) >= last)
        assert running.terminate() == 0
        assert standing.terminate() == 0

    assert state(hooked)["counts"] == [[1, 2]]


def test_an_owner_that_is_suspended_in_a_transaction_commits_nothing_afterwards(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    if is_sqlite(hooked):
        pytest.skip("SQLite's locks cannot be taken away from a suspended process")
    hooked.env["ESDB_LEASE_SECONDS"] = "2"
    writing.register("Fido")
    writing.add_trick("Fido", "wait")
    with worker(hooked) as first:
        wait_for_handler(tmp_path, first)
        first.suspend()
        (tmp_path / "go").touch()
        with worker(hooked) as second:
            second.wait_for("Running TrainingSchoolProjection")
            last = writing.add_trick("Fido", "sit")
            wait_until(hooked, lambda found: (found["position"] or 0) >= last)
            first.resume()
            first.wait_for("Standing by")
            assert first.terminate() == 0
            assert second.terminate() == 0

    found = state(hooked)
    assert found["counts"] == [[1, 2]]
    assert found["tricks"] == {"Fido": ["wait", "sit"]}


def test_on_sqlite_no_process_takes_over_from_a_transaction(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    if not is_sqlite(hooked):
        pytest.skip("other databases end the transaction")
    hooked.env["ESDB_LEASE_SECONDS"] = "1"
    writing.register("Fido")
    writing.add_trick("Fido", "wait")
    with worker(hooked) as first:
        wait_for_handler(tmp_path, first)
        first.suspend()
        (tmp_path / "go").touch()
        with worker(hooked) as second:
            # Longer than the lease.
            time.sleep(3)
            assert not any("Running" in line for line in second.lines)
            first.resume()
            last = writing.add_trick("Fido", "sit")
            wait_until(hooked, lambda found: (found["position"] or 0) >= last)

    assert state(hooked)["tricks"] == {"Fido": ["wait", "sit"]}


@pytest.mark.any_database
def test_exclusive_fails_where_another_process_runs_it(hooked: Project) -> None:
    with worker(hooked) as first:
        first.wait_for("Running")
        result = hooked.manage("runprojections", "--exclusive", check=False)

    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert "'TrainingSchoolProjection' is run by" in result.stderr
    assert f":{first.process.pid}:" in result.stderr


@pytest.mark.any_database
def test_exclusive_ends_when_it_was_taken_over(hooked: Project) -> None:
    hooked.env["ESDB_LEASE_SECONDS"] = "1"
    with worker(hooked, "--exclusive") as first:
        first.wait_for("Running")
        suspend_outside_of_transaction(hooked, first)
        with worker(hooked) as second:
            second.wait_for("Running")
            first.resume()
            assert first.status() == 3

    assert "was taken over by" in first.lines[-1]


@pytest.mark.any_database
def test_until_caught_up_ends_when_the_owner_has_caught_up(
    hooked: Project, writing: TrainingSchool
) -> None:
    writing.register("Fido")
    with worker(hooked) as first:
        first.wait_for("Running")
        result = hooked.manage("runprojections", "--until-caught-up")

    assert result.stdout.splitlines()[-1] == "All caught up"


@pytest.mark.slow("starts eight processes, one after the other")
def test_an_event_that_ends_the_process_is_recognised(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    before = writing.register("Fido")
    hooked.manage("runprojections", "--until-caught-up")
    there = writing.add_trick("Fido", "crash")
    statuses = [
        hooked.manage("runprojections", "--fail-fast", check=False).returncode
        for _ in range(4)
    ]
    assert statuses == [-signal.SIGKILL] * 4

    result = hooked.manage("runprojections", "--fail-fast", check=False)

    assert result.returncode == 1
    assert "at which its process has ended 3 times" in result.stderr
    found = state(hooked)
    assert found["state"] == "paused"
    # What lies between is none of this application's.
    assert before <= found["position"] < there
    # Something that starts it again and again does no harm.
    again = hooked.manage("runprojections", "--fail-fast", check=False)
    assert again.returncode == 1
    assert "its process has ended 3 times" in again.stderr

    (tmp_path / "go").touch()
    hooked.manage("retryfailedevents", "TrainingSchoolProjection")
    hooked.manage("runprojections", "--until-caught-up")
    assert state(hooked)["tricks"] == {"Fido": ["crash"]}


@pytest.mark.slow("starts six processes, one after the other")
def test_an_event_that_ends_the_process_is_parked_where_that_is_wanted(
    hooked: Project, writing: TrainingSchool
) -> None:
    hooked.env["FAULTS_ON_FAILURE"] = "park"
    writing.register("Fido")
    hooked.manage("runprojections", "--until-caught-up")
    writing.add_trick("Fido", "crash")
    last = writing.register("Rex")
    for _ in range(4):
        hooked.manage("runprojections", "--until-caught-up", check=False)

    hooked.manage("runprojections", "--until-caught-up")

    found = state(hooked)
    assert found["position"] >= last
    assert found["tricks"] == {"Fido": [], "Rex": []}
    (error,) = found["failed"]
    assert "its process has ended 3 times" in error


@pytest.mark.slow("starts seven processes, one after the other")
def test_a_process_that_is_killed_while_it_is_idle_has_not_failed(
    hooked: Project, writing: TrainingSchool
) -> None:
    first = writing.register("Fido")
    hooked.manage("runprojections", "--until-caught-up")
    for _ in range(5):
        with worker(hooked) as this:
            this.wait_for("Running")
            this.process.kill()
            this.status()
    last = writing.register("Rex")

    hooked.manage("runprojections", "--until-caught-up")

    assert state(hooked)["position"] >= last > first
    assert state(hooked)["error"] == ""


@pytest.mark.any_database
def test_who_is_stopped_does_not_say_that_all_is_caught_up(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    writing.register("Fido")
    writing.add_trick("Fido", "wait")
    writing.add_trick("Fido", "sit")
    arguments = ("--until-caught-up", "--batch-size", "1", "--no-progress")
    with worker(hooked, *arguments) as this:
        wait_for_handler(tmp_path, this)
        this.process.terminate()
        wait_for_stop(tmp_path, this)
        (tmp_path / "go").touch()
        assert this.status() == 1

    assert "Stopped before all was known to be caught up" in this.lines[-1]
    assert not any("All caught up" in line for line in this.lines)
    hooked.manage("runprojections", "--until-caught-up")
    assert state(hooked)["counts"] == [[1, 2]]


@pytest.mark.any_database
def test_stopping_takes_no_longer_than_it_may(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    writing.register("Fido")
    writing.add_trick("Fido", "wait")
    with worker(hooked, "--shutdown-timeout", "1") as this:
        wait_for_handler(tmp_path, this)
        assert this.terminate() == 4

    assert "Not stopped in time, ending anyway: seconds=1" in this.lines[-1]
    (tmp_path / "go").touch()
    hooked.manage("runprojections", "--until-caught-up")
    assert state(hooked)["counts"] == [[1, 1]]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(
    hooked: Project,
    writing: TrainingSchool,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    writing.register("Fido")
    writing.add_trick("Fido", "wait")
    with worker(hooked, "--shutdown-timeout", "600") as this:
        wait_for_handler(tmp_path, this)
        end = time.monotonic() + SECONDS
        while this.process.poll() is None:
            assert time.monotonic() < end
            # A signal that comes before the first is handled is lost in it.
            this.process.send_signal(number)
            time.sleep(0.3)
        assert this.status() == 128 + number

    (tmp_path / "go").touch()
    hooked.manage("runprojections", "--until-caught-up")
    assert state(hooked)["counts"] == [[1, 1]]


@pytest.mark.any_database
def test_a_paused_projection_waits_in_a_process_that_continues(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    writing.register("Fido")
    writing.add_trick("Fido", "fail")
    with worker(hooked) as this:
        this.wait_for("It is paused: fix the cause")
        found = wait_until(hooked, lambda found: found["state"] == "paused")
        assert "as the test says" in found["error"]
        (tmp_path / "go").touch()
        result = hooked.manage("retryfailedevents", "TrainingSchoolProjection")
        assert "it was paused and is resumed" in result.stdout
        wait_until(hooked, lambda found: found["tricks"] == {"Fido": ["fail"]})
        assert this.terminate() == 0


@pytest.mark.any_database
def test_fail_fast_ends_the_process(hooked: Project, writing: TrainingSchool) -> None:
    writing.register("Fido")
    writing.add_trick("Fido", "fail")

    result = hooked.manage("runprojections", "--fail-fast", check=False)

    assert result.returncode == 1
    *log, line = result.stderr.splitlines()
    assert line.endswith("RuntimeError: as the test says")
    # Where it failed is said once, before.
    assert log[0].startswith("Event failed: projection=TrainingSchoolProjection")
    assert sum("in _act" in each for each in log) == 1


@pytest.mark.any_database
def test_reload_restarts_when_code_changes_and_waits_for_no_lease(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    module = tmp_path / "changing_module.py"
    module.write_text("VERSION = 1\n")
    hooked.env["PYTHONPATH"] = str(tmp_path)
    hooked.env["FAULTS_IMPORT"] = "changing_module"
    with worker(hooked, "--reload") as this:
        try:
            this.wait_for("Running TrainingSchoolProjection")
            # The reloader has to have looked at the file once.
            time.sleep(2.5)
            module.write_text("VERSION = 2\n")
            this.wait_for("Running TrainingSchoolProjection", count=2)
            last = writing.register("Fido")
            wait_until(hooked, lambda found: (found["position"] or 0) >= last)
        finally:
            # Unlike being killed, that ends the process that it has started, too.
            status = this.terminate()

    assert status == 0


def wait_for_roles(first: Watched, second: Watched) -> tuple[Watched, Watched]:
    """Return which of two runs and which stands by."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for one, other in ((first, second), (second, first)):
            if any("Running" in line for line in one.lines) and any(
                "Standing by" in line for line in other.lines
            ):
                return one, other
        time.sleep(0.05)
    raise AssertionError(first.lines + second.lines)


def test_an_event_that_hangs_ends_the_process_and_another_takes_over(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    hooked.env["FAULTS_EVENT_SECONDS"] = "1"
    writing.register("Fido")
    with worker(hooked) as first:
        first.wait_for("Running TrainingSchoolProjection")
        last = writing.add_trick("Fido", "hang")
        assert first.status() == 5
    found = state(hooked)
    assert "hangs at an event, for more than 1 s, in _act" in found["error"]
    assert "fault_injection/apps.py:" in found["error"]
    assert any(found["error"] in line for line in first.lines)
    shown = hooked.manage("showprojections", check=False).stdout
    assert "lost" in shown
    assert "hangs at an event" in shown
    (tmp_path / "go").touch()
    with worker(hooked) as second:
        wait_until(hooked, lambda found: (found["position"] or 0) >= last)
        assert second.terminate() == 0

    assert state(hooked)["tricks"] == {"Fido": ["hang"]}


def test_a_failed_event_that_hangs_ends_who_tries_it_again(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    hooked.env["FAULTS_ON_FAILURE"] = "park"
    writing.register("Fido")
    writing.add_trick("Fido", "fail")
    hooked.manage("runprojections", "--until-caught-up")
    hooked.env |= {"FAULTS_EVENT_SECONDS": "1", "FAULTS_HANG": "yes"}

    retried = hooked.manage("retryfailedevents", check=False)

    assert retried.returncode == 5, retried.stderr
    line = retried.stderr.splitlines()[-1]
    assert "hangs at failed event 1, for more than 1 s, in _act" in line
    assert line.endswith("; it stays put aside, and the process ends")
    (error,) = state(hooked)["failed"]
    assert line.startswith(error[0] if isinstance(error, tuple) else error)
    (tmp_path / "go").touch()
    assert "1 processed" in hooked.manage("retryfailedevents").stdout
    assert state(hooked)["tricks"] == {"Fido": ["fail"]}


@pytest.mark.slow("a process that lets no thread run is given ten seconds more")
@pytest.mark.any_database
def test_a_handler_that_lets_no_thread_run_ends_the_process(
    hooked: Project, writing: TrainingSchool
) -> None:
    hooked.env["FAULTS_EVENT_SECONDS"] = "1"
    writing.register("Fido")
    writing.add_trick("Fido", "stall")
    with worker(hooked) as this:
        assert this.status() == 1
    assert any("fault_injection/apps.py" in line for line in this.lines)


def test_a_child_that_a_handler_has_forked_does_not_do_its_parents_work(
    hooked: Project, writing: TrainingSchool, tmp_path: Path
) -> None:
    writing.register("Fido")
    for trick in ("fork", "exit", "sit"):
        writing.add_trick("Fido", trick)

    output = hooked.manage("runprojections", "--until-caught-up")

    assert (tmp_path / "fork").read_text() == "1"
    assert (tmp_path / "exit").read_text() == "7"
    assert output.stderr.count("A handler has forked, and the child has come back") == 1
    assert state(hooked)["counts"] == [[1, 3]]
