"""Who writes all the time, and what they were told."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from enum import Enum

from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import IntegrityError, PersistenceError

from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog

# So few that writers get in each other's way at times.
_RECENT_DOGS = 4
_LONGEST_PAUSE_SECONDS = 0.06


class Answer(Enum):
    """What came of a write, as far as the writer knows."""

    SAVED = "saved"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Write:
    """
    A save that was tried once.

    Attributes:
        texts: Names or tricks, of one event each.
        position: Where the last event went; None if that is not known.
    """

    texts: tuple[str, ...]
    answer: Answer
    position: int | None = None


class Writers:
    """
    Threads that register dogs and teach them tricks.

    None repeats a write whose outcome it does not know, so that no event may be
    in the log twice: what repeats it, below, has to see to that.

    Args:
        school: What they write through.
        count: How many threads.
        seed: What decides about what they write.

    Attributes:
        writes: What they have tried; each thread adds to it.
        error: What ended one of them, which should not happen.
    """

    def __init__(self, school: TrainingSchool, count: int, seed: int) -> None:
        self.writes: list[Write] = []
        self.error: BaseException | None = None
        self._school = school
        self._names: list[str] = []
        self._stopping = threading.Event()
        self._busy = 0
        self._is_paused = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(f"writer {number}", random.Random(f"{seed} {number}")),
                name=f"writer-{number}",
            )
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def pause(self, timeout: float) -> bool:
        """Let none begin; return whether all are done with what they were at."""
        with self._changed:
            self._is_paused = True
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def resume(self) -> None:
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def stop(self) -> None:
        """End all, each after the write that it is at; blocks until then."""
        self._stopping.set()
        self.resume()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self, who: str, choose: random.Random) -> None:
        number = 0
        try:
            while self._begin():
                number += 1
                try:
                    self.writes.append(self._write(f"{who}: {number}", choose))
                finally:
                    self._end()
                # Mostly they continue at once, so that events come in bursts.
                if choose.random() < 0.5:
                    self._stopping.wait(choose.uniform(0, _LONGEST_PAUSE_SECONDS))
        except BaseException as error:
            self.error = error

    def _begin(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_paused)
            if self._stopping.is_set():
                return False
            self._busy += 1
            return True

    def _end(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def _write(self, text: str, choose: random.Random) -> Write:
        known = self._names[-_RECENT_DOGS:]
        if not known or choose.random() < 0.15:
            try:
                return self._save(Dog(text), (text,))
            finally:
                # Also where it is not known whether there is such a dog.
                self._names.append(text)
        tricks = tuple(f"{text}.{part}" for part in range(choose.choice((1, 1, 4))))
        try:
            dog: Dog = self._school.repository.get(Dog.create_id(choose.choice(known)))
        except (AggregateNotFoundError, PersistenceError):
            return Write(tricks, Answer.REFUSED)
        for trick in tricks:
            dog.add_trick(trick)
        return self._save(dog, tricks)

    def _save(self, dog: Dog, texts: tuple[str, ...]) -> Write:
        try:
            position = self._school.save(dog)[-1].notification.id
        except IntegrityError:
            return Write(texts, Answer.REFUSED)
        except PersistenceError:
            return Write(texts, Answer.UNKNOWN)
        return Write(texts, Answer.SAVED, position)
