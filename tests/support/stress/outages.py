"""
How soon everything recovers after outages: measured, and held against what is promised.

Elections and a leader that is frozen are tried with the cluster of
:mod:`tests.support.cluster`, stops and kills with a store that is one process. The
projections run in a process of their own, one thread reads and one saves all the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.cluster import Cluster
from tests.support.databases import SQLITE_URL, new_database
from tests.support.event_stores import EventStore
from tests.support.processes import Watched
from tests.support.projects import Project
from tests.support.stores import school_at
from tests.support.stress.checks import Checker
from tests.support.stress.engine import project_on
from tests.support.stress.errors import StressError
from tests.support.stress.figures import Caller, Figures, Projections, Saves, until
from tests.support.stress.snapshots import Database
from tests.support.stress.verdict import compare_writes
from tests.support.stress.writers import Write

# How long there is no leader, and no store.
WITHOUT_LEADER_SECONDS = (1.0, 5.0, 20.0)
WITHOUT_STORE_SECONDS = (3.0, 15.0)
# After which the others elect a leader, as those of a real cluster did.
FROZEN_BEFORE_ELECTION_SECONDS = 7.5
FROZEN_SECONDS = 45.0
# How long a worker runs before there is a store at all.
WORKER_ALONE_SECONDS = 10.0

# How soon calls continue once there is a leader.
CALL_SECONDS = 8.0


def measure_cluster(url: str, figures: Figures, say: Callable[[str], None]) -> None:
    """
    Measure elections, and a leader that is frozen.

    Raises:
        StressError: Something is lost, or there twice, or nothing continues.
    """
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster())
        project = project_on(url, cluster.uri)
        database = _database(project, stack)
        projections = Projections(database)
        school = stack.enter_context(school_at(cluster))
        beneath = stack.enter_context(school_at(_Beneath(cluster)))
        saves, told = Saves(school, "saved"), Saves(beneath, "told")
        told.save()
        first = Dog.create_id("told 0")
        callers = {
            "saves": Caller(saves.save),
            "reads": Caller(lambda: school.repository.get(first)),
        }

        def measure(what: str, promised: float) -> None:
            moment = time.monotonic()
            took = projections.seconds_until_at(told.save(), moment)
            figures.add(f"rows {what}", promised, took)
            for name, caller in callers.items():
                took = caller.seconds_from(moment)
                figures.add(f"{name} {what}", CALL_SECONDS, took)

        with _worker(project):
            with callers["saves"], callers["reads"]:
                projections.seconds_until_at(told.save(), time.monotonic())
                for number, seconds in enumerate(WITHOUT_LEADER_SECONDS, start=1):
                    say(f"no leader for {seconds:g} s")
                    leader = cluster.nodes[number - 1]
                    leader.kill()
                    cluster.leaderless()
                    time.sleep(seconds)
                    cluster.elect(number % len(cluster.nodes))
                    measure("after an election", 3)
                    leader.restart()
                leader = cluster.leader
                assert leader is not None
                say(f"a leader that is frozen for {FROZEN_SECONDS:g} s")
                wakes_at = time.monotonic() + FROZEN_SECONDS
                leader.freeze()
                time.sleep(FROZEN_BEFORE_ELECTION_SECONDS)
                cluster.elect((leader.number + 1) % len(cluster.nodes))
                measure("after a frozen leader", 10)
                time.sleep(max(0.0, wakes_at - time.monotonic()))
                leader.wake()
                measure("after it has woken", 3)
            _check(database, beneath, saves.writes + told.writes)
        for name, caller in callers.items():
            if caller.errors:
                count, example = len(caller.errors), caller.errors[0]
                say(f"{name} that failed meanwhile: {count}, such as {example}")


def measure_store(url: str, figures: Figures, say: Callable[[str], None]) -> None:
    """
    Measure a single store that goes away and comes back.

    Raises:
        StressError: Something is lost, or there twice, or nothing continues.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = EventStore(folder)
        stack.callback(store.kill)
        store.start()
        project = project_on(url, store.uri)
        database = _database(project, stack)
        projections = Projections(database)
        writes: list[Write] = []

        def measure(what: str) -> None:
            """As a process finds it that begins now, and so connects at once."""
            moment = time.monotonic()
            with school_at(store) as school:
                saves = Saves(school, f"{what} {len(writes)}")
                took = projections.seconds_until_at(saves.save(), moment)
            figures.add(f"rows {what}", 3, took)
            took = projections.seconds_until_running(moment)
            figures.add("the state tells that the store is there", 3, took)
            writes.extend(saves.writes)

        say(f"a worker {WORKER_ALONE_SECONDS:g} s before there is a store")
        store.kill()
        with _worker(project, "--wait", "120"):
            time.sleep(WORKER_ALONE_SECONDS)
            store.start()
            measure("after the store's first start")
            for seconds in WITHOUT_STORE_SECONDS:
                for end in (EventStore.stop, EventStore.kill):
                    say(f"no store for {seconds:g} s, by {end.__name__}")
                    end(store)
                    gone = time.monotonic()
                    took = projections.seconds_until_away(gone)
                    figures.add("the state tells that the store is away", 3, took)
                    time.sleep(max(0.0, gone + seconds - time.monotonic()))
                    store.start()
                    measure("after the store's return")
            with school_at(store) as school:
                _check(database, school, writes)


class _Beneath:
    """The store under a cluster's nodes, which is always there."""

    def __init__(self, cluster: Cluster) -> None:
        self.uri = cluster.store_uri


def _database(project: Project, stack: ExitStack) -> Database:
    project.manage("migrate", "--run-syncdb", "--verbosity", "0")
    database = Database(project.env["DATABASE_URL"])
    stack.callback(database.close)
    return database


@contextmanager
def _worker(project: Project, *options: str) -> Iterator[None]:
    """Run the projections until the block ends."""
    worker = Watched(project.start("runprojections", *options))
    try:
        yield
    except BaseException:
        worker.process.kill()
        worker.status()
        sys.stderr.write("\n".join(["the worker:", *worker.lines, ""]))
        raise
    status = worker.terminate()
    if status or any("Traceback" in line for line in worker.lines):
        raise StressError(f"the worker has ended with {status}: {worker.lines}")


def _check(database: Database, school: TrainingSchool, writes: list[Write]) -> None:
    """See that all that was saved is in the log once, and comes into the rows once."""
    checker = Checker(database, school)
    until(lambda: checker.is_complete(checker.look()), "the rows")
    compare_writes(checker.log, writes)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure all and print it.

    Returns:
        The exit status: 0 if what is promised was kept, 1 if something took longer,
        was lost or is there twice. Wrong options end the process with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.stress.outages",
        description="Measures how soon reads, saves and rows continue after elections,"
        " frozen leaders and restarts of the store; takes three minutes. Exit status: 0"
        " as soon as promised, 1 something took longer or disagrees, 2 wrong options.",
    )
    parser.parse_args(arguments)
    figures = Figures()
    failures: list[str] = []
    for measure in (measure_cluster, measure_store):
        with (
            tempfile.TemporaryDirectory(prefix="outages-") as folder,
            new_database(SQLITE_URL, Path(folder)) as url,
        ):
            try:
                measure(url, figures, _say)
            except StressError as error:
                failures.append(str(error))
    for line in figures.lines():
        _say(line)
    for failure in failures:
        _say(f"FAILED: {failure}")
    return int(bool(failures) or not figures.are_kept)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
