"""
A run: set up, disturb, check all the time, and see whether all is there in the end.

There are two kinds of checks. At random moments, with nothing stopped, rows and
positions are read in one snapshot: the rows have to be what the events up to the
position make, whatever the position is. And every few disturbances writers pause,
the projections have to catch up, and then all that is in the log is in the rows.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eventsourcing.persistence import OperationalError

from example_project.training_school.application import TrainingSchool
from tests.support.databases import new_database
from tests.support.event_stores import EventStore, EventStoreError
from tests.support.projects import Project, clean_environment
from tests.support.stress.checks import Checker, RandomChecks
from tests.support.stress.disturbances import Scene, in_random_order
from tests.support.stress.errors import Disagreement, Stopped, StressError
from tests.support.stress.pool import Pool
from tests.support.stress.snapshots import Database
from tests.support.stress.verdict import Log, compare_writes
from tests.support.stress.writers import Answer, Writers

LEASE_SECONDS = 1.0

# Generous, for machines that are busy with other things.
_PATIENCE_SECONDS = 180.0

_DISTURBANCES_IN_A_ROUND = 5
_LONGEST_CALM_SECONDS = 0.6
_TEND_SECONDS = 0.05


@dataclass(frozen=True)
class Plan:
    """
    What a run will be like.

    Attributes:
        seed: Decides what is done in which order, though not when exactly.
        seconds: For how long disturbances last; None for no limit.
        disturbances: How many there are at most; None for no limit.
        workers: How many processes run the projections.
        writers: How many threads write.
    """

    seed: int
    seconds: float | None = None
    disturbances: int | None = None
    workers: int = 3
    writers: int = 3


@dataclass
class Outcome:
    """
    What came of a run.

    Attributes:
        survived: What has happened, and how often.
        failure: Why it has failed; None if all agrees.
        was_stopped: Whether it was ended before its time.
        last_words: What the workers have said last, if it failed.
    """

    survived: Counter[str] = field(default_factory=Counter)
    failure: StressError | None = None
    was_stopped: bool = False
    last_words: list[str] = field(default_factory=list)


def run(
    url: str,
    folder: Path,
    plan: Plan,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Outcome:
    """
    Do a run on a new database; blocks until its end, and leaves nothing running.

    Args:
        url: Of the database server; for SQLite the database is in *folder*.
        folder: An empty folder for the run's files.
        plan: What the run will be like.
        is_stopping: Asked again and again whether the run must end early.
    """
    outcome = Outcome()
    try:
        with new_database(url, folder) as database_url, ExitStack() as stack:
            _Run(database_url, folder, plan, is_stopping, outcome, stack).run()
    except Stopped:
        outcome.was_stopped = True
    except StressError as error:
        outcome.failure = error
    except EventStoreError as error:
        outcome.failure = StressError(str(error))
    except Exception:
        # What ends this process may have ended something that it waited for, too.
        if not is_stopping():
            raise
        outcome.was_stopped = True
    return outcome


class _Run:
    def __init__(
        self,
        database_url: str,
        folder: Path,
        plan: Plan,
        is_stopping: Callable[[], bool],
        outcome: Outcome,
        stack: ExitStack,
    ) -> None:
        self._plan = plan
        self._is_stopping = is_stopping
        self._outcome = outcome
        self._survived = outcome.survived
        self._stack = stack
        self._store = EventStore(folder)
        stack.callback(self._store.kill)
        self._store.start()
        self._project = project_on(database_url, self._store.uri)
        self._project.manage("migrate", "--run-syncdb", "--verbosity", "0")
        self._database = Database(database_url)
        stack.callback(self._database.close)
        self._pool = Pool(self._project, plan.workers, self._survived)
        self._checker = self._new_checker()
        self._random_checks = RandomChecks(self._new_checker(), plan.seed)
        # So a save's answer is at times not waited for until the store is back.
        school = self._school("&DefaultDeadline=1")
        self._writers = Writers(school, plan.writers, plan.seed)

    def run(self) -> None:
        with self._workers():
            with self._writing(), self._random_checks.running():
                self._disturb()
                self._catch_up()
                self._survived["checks of one moment"] += self._random_checks.count
            self._pool.stop()
        self._finish()

    def _disturb(self) -> None:
        scene = Scene(
            store=self._store,
            database=self._database,
            project=self._project,
            pool=self._pool,
            lease_seconds=LEASE_SECONDS,
            choose=random.Random(self._plan.seed),
            pause=self._pause,
            survived=self._survived,
        )
        end = time.monotonic() + (self._plan.seconds or float("inf"))
        # Before each projection has run once there is nothing to disturb.
        self._catch_up()
        for number, disturb in enumerate(in_random_order(scene.choose), start=1):
            self._writers.resume()
            self._pause(scene.choose.uniform(0, _LONGEST_CALM_SECONDS))
            disturb(scene)
            if number == self._plan.disturbances or time.monotonic() > end:
                return
            if number % _DISTURBANCES_IN_A_ROUND == 0:
                self._catch_up()

    def _catch_up(self) -> None:
        """Let nothing more be written, and wait until all of it is in the rows."""
        end = time.monotonic() + _PATIENCE_SECONDS
        if not self._writers.pause(_PATIENCE_SECONDS):
            raise StressError("a writer does not come back from a save")
        while True:
            self._pause(_TEND_SECONDS)
            try:
                snapshot = self._checker.look()
            except OperationalError as error:
                if time.monotonic() > end:
                    raise StressError(f"the log cannot be read: {error}") from error
                continue
            if self._checker.is_complete(snapshot):
                self._survived["checks of everything"] += 1
                return
            if time.monotonic() > end:
                raise Disagreement(
                    f"the projections do not catch up: {snapshot.tracked}, while the "
                    f"log's last event is {self._checker.log.events[-1]}"
                )

    def _finish(self) -> None:
        """Look at what is left when all was stopped and the store was killed again."""
        self._store.kill()
        self._store.start()
        log = Log(self._school())
        log.read_on()
        if log.events != self._checker.log.events:
            raise Disagreement("the event store has other events than it had before")
        snapshot = self._checker.look()
        if not self._checker.is_complete(snapshot):
            raise Disagreement(f"what was there is not any more: {snapshot.tracked}")
        compare_writes(log, self._writers.writes)
        answers = Counter(write.answer for write in self._writers.writes)
        self._survived.update(
            {
                "saves acknowledged": answers[Answer.SAVED],
                "saves refused": answers[Answer.REFUSED],
                "saves with an unknown outcome": answers[Answer.UNKNOWN],
                "events in the log, and in the rows of each projection once": len(
                    log.events
                ),
                "terms of owners, of both projections": sum(
                    # Above these bits each row's tokens have a range of their own.
                    tracked.token & 0xFFFF_FFFF
                    for tracked in snapshot.tracked.values()
                ),
            }
        )

    def _pause(self, seconds: float) -> None:
        """Wait, start what has ended again, and see whether all is well."""
        end = time.monotonic() + seconds
        while True:
            if self._is_stopping():
                raise Stopped
            if self._random_checks.error is not None:
                raise self._random_checks.error
            if self._writers.error is not None:
                raise StressError(f"a writer has ended: {self._writers.error!r}")
            self._pool.refill()
            remaining = end - time.monotonic()
            if remaining <= 0:
                return
            time.sleep(min(remaining, _TEND_SECONDS))

    @contextmanager
    def _workers(self) -> Iterator[None]:
        try:
            yield
        except StressError:
            self._outcome.last_words = self._pool.last_words()
            raise
        finally:
            self._pool.kill_all()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._writers.start()
        try:
            yield
        finally:
            self._writers.stop()

    def _new_checker(self) -> Checker:
        return Checker(self._database, self._school())

    def _school(self, options: str = "") -> TrainingSchool:
        school = TrainingSchool(
            {
                "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
                "EVENTSTOREDB_URI": self._store.uri + options,
            }
        )
        self._stack.callback(school.close)
        return school


def project_on(database_url: str, event_store_uri: str) -> Project:
    return Project(
        {
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "tests.support.stress.settings",
            "DATABASE_URL": database_url,
            "EVENTSTOREDB_URI": event_store_uri,
            "ESDB_LEASE_SECONDS": str(LEASE_SECONDS),
            # However often a process was killed at an event, it is not the event's
            # fault.
            "ESDB_RETRIES": "1000",
        }
    )
