"""What the read models have to be, made of the log alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.stress.errors import Disagreement, StressError
from tests.support.stress.snapshots import ReadModels, Snapshot
from tests.support.stress.writers import Answer, Write

_PAGE = 5_000


@dataclass(frozen=True)
class Recorded:
    """
    An event as it is in the log.

    Attributes:
        dog: The aggregate's ID.
        text: The dog's name or the trick; no two events have the same.
    """

    position: int
    dog: str
    version: int
    text: str


class Log:
    """
    What the event store has, read through the application's recorder.

    It is read on from where it was read to, so what was there once and is not any
    more is only noticed by another one that starts over.
    """

    def __init__(self, school: TrainingSchool) -> None:
        self.events: list[Recorded] = []
        self._school = school

    def read_on(self) -> None:
        """
        Read what has been recorded since.

        Raises:
            OperationalError: The event store is away.
            StressError: What comes is not in order.
        """
        while True:
            start = self.events[-1].position if self.events else None
            page = self._school.recorder.select_notifications(
                start=start, limit=_PAGE, inclusive_of_start=False
            )
            for notification in page:
                self._add(notification)
            if len(page) < _PAGE:
                return

    def up_to(self, position: int | None) -> list[Recorded]:
        """Return those up to a position, inclusive."""
        end = -1 if position is None else position
        return [event for event in self.events if event.position <= end]

    def _add(self, notification: Any) -> None:
        event: Any = self._school.mapper.to_domain_event(notification)
        is_first = isinstance(event, Dog.Registered)
        recorded = Recorded(
            position=notification.id,
            dog=event.originator_id.hex,
            version=event.originator_version,
            text=event.name if is_first else event.trick,
        )
        if self.events and recorded.position <= self.events[-1].position:
            raise StressError(f"the log is not in order at {recorded.position}")
        self.events.append(recorded)


def fold(events: Sequence[Recorded]) -> ReadModels:
    """Return the read models that events make, applied once each and in order."""
    dogs: dict[str, tuple[str, list[str]]] = {}
    for event in events:
        if event.version == 0:
            dogs[event.dog] = (event.text, [])
        else:
            dogs[event.dog][1].append(event.text)
    tricks = len(events) - len(dogs)
    return ReadModels(
        dogs=dogs,
        counts=(len(dogs), tricks) if events else (0, 0),
        entries=[(event.position, event.text) for event in events],
        tally=(len(events), len(events)),
    )


def compare(log: Log, snapshot: Snapshot) -> None:
    """
    Compare a snapshot's rows with the log up to the snapshot's positions.

    Raises:
        Disagreement: They differ.
    """
    for projection, fields in PROJECTIONS.items():
        tracked = snapshot.tracked.get(projection)
        position = tracked.position if tracked else None
        events = log.up_to(position)
        last = events[-1].position if events else None
        if tracked and tracked.event_position != last:
            raise Disagreement(
                f"{projection} is at position {position}, and says that the last event "
                f"it has processed is at {tracked.event_position}; the log's is at "
                f"{last}"
            )
        expected = fold(events)
        for name in fields:
            found, wanted = getattr(snapshot.rows, name), getattr(expected, name)
            if found != wanted:
                raise Disagreement(
                    f"{projection} is at position {position} after {len(events)} "
                    f"events, and its {name} are not what these make: "
                    f"{difference(found, wanted)}"
                )


def compare_writes(log: Log, writes: Sequence[Write]) -> None:
    """
    Compare what writers were told with what is in the log.

    Raises:
        Disagreement: What was saved is not there, or what was refused is; or a save
            is there in part, or twice.
    """
    positions: dict[str, list[int]] = {}
    for event in log.events:
        positions.setdefault(event.text, []).append(event.position)
    for write in writes:
        found = [positions.pop(text, []) for text in write.texts]
        there = len(found[-1])
        if any(len(one) != there for one in found) or there > 1:
            raise Disagreement(f"{write} is in the log in part or twice: {found}")
        if write.answer is not Answer.UNKNOWN and there != (
            write.answer is Answer.SAVED
        ):
            raise Disagreement(f"{write} is in the log {there} times")
        if write.position is not None and found[-1] != [write.position]:
            raise Disagreement(f"{write} is in the log at {found[-1]}")
    if positions:
        raise Disagreement(f"no writer has written {next(iter(positions))!r}")


# Whose rows are which; each projection has its own position.
PROJECTIONS = {
    "TrainingSchoolProjection": ("dogs", "counts"),
    "JournalProjection": ("entries", "tally"),
}


def difference(found: Any, wanted: Any) -> str:
    """Say where two values differ first, in a line."""
    if isinstance(wanted, dict):
        for key in wanted.keys() | found.keys():
            if found.get(key) != wanted.get(key):
                return f"{key} is {found.get(key)}, not {wanted.get(key)}"
    if isinstance(wanted, list):
        for index, (one, other) in enumerate(zip(found, wanted, strict=False)):
            if one != other:
                return f"number {index} is {one}, not {other}"
        return f"there are {len(found)}, not {len(wanted)}"
    return f"{found}, not {wanted}"
