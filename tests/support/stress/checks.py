"""Comparing rows and positions with the log, at any moment and when all is done."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import OperationalError

from example_project.training_school.application import TrainingSchool
from tests.support.stress.errors import Disagreement, StressError
from tests.support.stress.snapshots import Database, Snapshot
from tests.support.stress.verdict import PROJECTIONS, Log, compare

_LONGEST_PAUSE_SECONDS = 0.5


class Checker:
    """
    Compares with a log of its own; for one thread.

    Args:
        database: Where rows and positions are.
        school: Through which the log is read.

    Attributes:
        log: As far as it was read.
        count: How often it has compared.
    """

    def __init__(self, database: Database, school: TrainingSchool) -> None:
        self.log = Log(school)
        self.count = 0
        self._database = database

    def look(self) -> Snapshot:
        """
        Compare what is there at this moment.

        Raises:
            Disagreement: The rows are not what the events up to the position make.
            OperationalError: The event store is away.
        """
        snapshot = self._database.snapshot()
        # Afterwards, so that what was processed by then is there.
        self.log.read_on()
        for name, tracked in snapshot.tracked.items():
            if tracked.state == "paused":
                raise Disagreement(f"{name} is paused: {tracked.error}")
        if snapshot.put_aside:
            raise Disagreement(f"{snapshot.put_aside} events were put aside")
        compare(self.log, snapshot)
        self.count += 1
        return snapshot

    def is_complete(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot has all events that the log has."""
        if not self.log.events:
            return True
        last = self.log.events[-1].position
        positions = [
            tracked.position
            for name in PROJECTIONS
            if (tracked := snapshot.tracked.get(name)) is not None
        ]
        return len(positions) == len(PROJECTIONS) and all(
            position is not None and position >= last for position in positions
        )


class RandomChecks:
    """
    Checks at random moments, in a thread of their own.

    Attributes:
        error: What they have found; they end with it.
    """

    def __init__(self, checker: Checker, seed: int) -> None:
        self.error: StressError | None = None
        self._checker = checker
        self._choose = random.Random(seed)
        self._stopping = threading.Event()

    @property
    def count(self) -> int:
        """How many there were."""
        return self._checker.count

    @contextmanager
    def running(self) -> Iterator[None]:
        """Check until the block ends."""
        thread = threading.Thread(target=self._run, name="checks")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._choose.uniform(0, _LONGEST_PAUSE_SECONDS)):
            try:
                self._checker.look()
            except OperationalError:
                # The event store is away, so there is nothing to compare with.
                continue
            except StressError as error:
                self.error = error
                return
            except Exception as error:
                self.error = StressError(f"a check has failed: {error!r}")
                return
