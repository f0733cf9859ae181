"""How long it takes until calls work, and until rows are there."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from eventsourcing.persistence import OperationalError

from example_project.training_school.application import TrainingSchool
from tests.support.stress.errors import StressError
from tests.support.stress.snapshots import Database
from tests.support.stress.verdict import PROJECTIONS
from tests.support.stress.writers import Answer, Write

# What takes longer is taken to hang.
_PATIENCE_SECONDS = 180.0
_POLL_SECONDS = 0.02


@dataclass
class Figures:
    """
    What was measured.

    Attributes:
        seconds: By what they are about: what is promised, and what it took.
    """

    seconds: dict[tuple[str, float], list[float]] = field(default_factory=dict)

    def add(self, what: str, promised: float, seconds: float) -> None:
        """Note how long something took, of what at most *promised* seconds may."""
        self.seconds.setdefault((what, promised), []).append(seconds)

    def lines(self) -> Iterator[str]:
        """Say what was measured, in order."""
        for (what, promised), took in self.seconds.items():
            all_of_them = " ".join(f"{each:.1f}" for each in took)
            missed = "  MISSED" if max(took) > promised else ""
            yield f"{what}: {all_of_them} s (at most {promised:g}){missed}"

    @property
    def are_kept(self) -> bool:
        """Whether nothing took longer than it may."""
        return all(max(took) <= most for (_, most), took in self.seconds.items())


class Caller(threading.Thread):
    """
    Calls again and again until the block ends, and notes when that has worked.

    Args:
        call: What may raise an :exc:`OperationalError`.

    Attributes:
        errors: What callers were told.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.errors: list[str] = []
        self._call = call
        self._worked: list[float] = []
        self._stopping = threading.Event()

    def __enter__(self) -> Caller:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                self._call()
            except OperationalError as error:
                self.errors.append(str(error))
            else:
                self._worked.append(time.monotonic())

    def seconds_from(self, moment: float) -> float:
        """Return how long after a moment it has worked, once it has."""
        until(lambda: bool(self._worked) and self._worked[-1] > moment, "a call")
        return min(each for each in self._worked if each > moment) - moment


class Saves:
    """Registers dogs, each by one save that is not repeated, and notes the answers."""

    def __init__(self, school: TrainingSchool, who: str) -> None:
        self.writes: list[Write] = []
        self._school = school
        self._names = (f"{who} {number}" for number in itertools.count())

    def save(self) -> int:
        """Save one; return its position."""
        name = next(self._names)
        try:
            position = self._school.register(name)
        except OperationalError:
            self.writes.append(Write((name,), Answer.UNKNOWN))
            raise
        self.writes.append(Write((name,), Answer.SAVED, position))
        return position


class Projections:
    """What runs in the worker's process, as seen in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seconds_until_at(self, position: int, moment: float) -> float:
        """Return how long after a moment all are at a position, once they are."""
        return self._seconds_until(lambda row: (row.position or 0) >= position, moment)

    def seconds_until_running(self, moment: float) -> float:
        """Return how long after a moment all are said to run, once that is so."""
        return self._seconds_until(lambda row: row.state == "running", moment)

    def seconds_until_away(self, moment: float) -> float:
        """Return how long after a moment none is said to run, once that is so."""
        return self._seconds_until(lambda row: row.state != "running", moment)

    def _seconds_until(self, is_so: Callable[..., bool], moment: float) -> float:
        def are() -> bool:
            rows = self._database.tracked()
            return len(rows) == len(PROJECTIONS) and all(map(is_so, rows.values()))

        until(are, "the projections")
        return time.monotonic() - moment


def until(is_so: Callable[[], bool], what: str) -> None:
    """
    Wait until something is so.

    Raises:
        StressError: It never is.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise StressError(f"{what}: nothing continues")
        time.sleep(_POLL_SECONDS)
