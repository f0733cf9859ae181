"""The ``runprojections`` processes of a run, which are started again when they end."""

from __future__ import annotations

import random
import time
from collections import Counter

from tests.support.processes import Watched
from tests.support.projects import Project
from tests.support.stress.errors import StressError
from tests.support.stress.snapshots import Tracked

# Where no projection can begin, because what they need is away, their process ends.
_CANNOT_BEGIN = 1
_BEGUN = ("Running ", "Standing by ")


class Pool:
    """
    A few processes that run the same projections.

    Args:
        project: Whose projections they are.
        count: How many there will be at once.

    Attributes:
        workers: Those that have not been killed.
        survived: What is counted.
    """

    def __init__(self, project: Project, count: int, survived: Counter[str]) -> None:
        self.workers: list[Watched] = []
        self.survived = survived
        self._project = project
        self._count = count

    def refill(self) -> None:
        """
        Start those that are missing.

        Raises:
            StressError: One has ended as it should not.
        """
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.workers.remove(worker)
                self._check_end(worker, worker.status(), _CANNOT_BEGIN)
                self.survived["workers that could not begin"] += 1
        while len(self.workers) < self._count:
            self.workers.append(Watched(self._project.start("runprojections")))
            self.survived["workers started"] += 1

    def kill(self, worker: Watched) -> None:
        """End a process with SIGKILL; returns when it is gone."""
        self.workers.remove(worker)
        worker.process.kill()
        worker.status()
        self._check_lines(worker)

    def owner_of(self, tracked: Tracked) -> Watched | None:
        """Return the process that owns a projection, if it is there."""
        for worker in self.workers:
            if f":{worker.process.pid}:" in tracked.owner:
                return worker
        return None

    def any_of(
        self, tracked: dict[str, Tracked], choose: random.Random
    ) -> Watched | None:
        """Return an owner more often than one that stands by."""
        owners = [
            owner
            for row in tracked.values()
            if (owner := self.owner_of(row)) is not None
        ]
        known = owners if owners and choose.random() < 0.7 else self.workers
        return choose.choice(known) if known else None

    def stop(self) -> None:
        """
        Shut all down cleanly.

        Raises:
            StressError: One does not end as it should.
        """
        while self.workers:
            worker = self.workers[-1]
            # Before it has said anything, it may not take signals yet.
            while not worker.lines and worker.process.poll() is None:
                time.sleep(0.05)
            status = worker.terminate()
            self.workers.pop()
            if any(line.startswith(_BEGUN) for line in worker.lines):
                self._check_end(worker, status, 0)
            else:
                # It may have ended by itself just before.
                self._check_end(worker, status, 0, _CANNOT_BEGIN)

    def kill_all(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.status()

    def last_words(self) -> list[str]:
        """Return what the processes have said last."""
        return [
            f"{worker.process.pid}: {line}"
            for worker in self.workers
            for line in worker.lines[-8:]
        ]

    def _check_end(self, worker: Watched, status: int, *expected: int) -> None:
        if status not in expected:
            raise StressError(f"a worker has ended with {status}: {worker.lines}")
        self._check_lines(worker)

    def _check_lines(self, worker: Watched) -> None:
        for line in worker.lines:
            if "Traceback" in line:
                raise StressError(f"a worker was surprised: {worker.lines}")
            self.survived["interruptions of terms"] += "trying again" in line
            self.survived["owners that were taken over"] += "was taken over by" in line
