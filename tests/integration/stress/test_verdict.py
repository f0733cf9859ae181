"""What would be wrong is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.stores import school_at
from tests.support.stress.errors import Disagreement
from tests.support.stress.snapshots import ReadModels, Snapshot, Tracked
from tests.support.stress.verdict import PROJECTIONS, Log, compare, compare_writes, fold
from tests.support.stress.writers import Answer, Write


@pytest.fixture
def log(server: EmbeddedServer) -> Iterator[Log]:
    """A log of two dogs, of which one knows two tricks."""
    with school_at(server) as school:
        school.register("Fido")
        school.register("Rex")
        school.add_trick("Fido", "sit")
        school.add_trick("Fido", "roll")
        log = Log(school)
        log.read_on()
        yield log


def snapshot(log: Log, count: int, **changes: Any) -> Snapshot:
    """What the database should have after so many events, but for what is changed."""
    events = log.events[:count]
    position = events[-1].position if events else None
    tracked = Tracked(position, position, owner="", token=1, state="", error="")
    return Snapshot(
        tracked=dict.fromkeys(PROJECTIONS, tracked),
        rows=replace(fold(events), **changes),
        put_aside=0,
    )


@pytest.mark.parametrize("count", range(5))
def test_rows_that_agree_are_accepted_at_any_position(log: Log, count: int) -> None:
    compare(log, snapshot(log, count))


def test_the_rows_are_what_the_events_make(log: Log) -> None:
    fido, rex = log.events[0].dog, log.events[1].dog
    positions = [event.position for event in log.events]

    assert fold(log.events) == ReadModels(
        dogs={fido: ("Fido", ["sit", "roll"]), rex: ("Rex", [])},
        counts=(2, 2),
        entries=list(zip(positions, ("Fido", "Rex", "sit", "roll"), strict=True)),
        tally=(4, 4),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: {"counts": (2, 3)},
        lambda rows: {"tally": (4, 3)},
        lambda rows: {"entries": [*rows.entries, rows.entries[-1]]},
        lambda rows: {"entries": rows.entries[:-1]},
        lambda rows: {"entries": rows.entries[::-1]},
        lambda rows: {"dogs": dict(list(rows.dogs.items())[1:])},
        lambda rows: {
            "dogs": {
                key: (name, tricks * 2) for key, (name, tricks) in rows.dogs.items()
            }
        },
    ],
    ids=["twice", "lost", "doubled", "missing", "order", "no dog", "tricks twice"],
)
def test_rows_that_do_not_agree_are_found(log: Log, change: Any) -> None:
    with pytest.raises(Disagreement, match="not what these make: "):
        compare(log, snapshot(log, 4, **change(fold(log.events))))


def test_a_position_that_does_not_agree_with_the_rows_is_found(log: Log) -> None:
    found = snapshot(log, 3)
    ahead = snapshot(log, 4).tracked

    with pytest.raises(
        Disagreement, match=f"position {log.events[-1].position} after 4"
    ):
        compare(log, replace(found, tracked=ahead))


def saved(log: Log) -> list[Write]:
    return [Write((event.text,), Answer.SAVED, event.position) for event in log.events]


def test_writes_that_agree_are_accepted(log: Log) -> None:
    *first, third, fourth = saved(log)
    together = Write(("sit", "roll"), Answer.UNKNOWN)

    compare_writes(log, [*first, third, fourth, Write(("beg",), Answer.REFUSED)])
    compare_writes(log, [*first, together, Write(("beg",), Answer.UNKNOWN)])


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (Write(("beg",), Answer.SAVED, 7), "in the log 0 times"),
        (Write(("roll",), Answer.REFUSED), "in the log 1 times"),
        (Write(("roll",), Answer.SAVED, 7), "in the log at"),
        (Write(("roll", "beg"), Answer.UNKNOWN), "in part or twice"),
    ],
)
def test_writes_that_do_not_agree_are_found(log: Log, write: Write, says: str) -> None:
    with pytest.raises(Disagreement, match=says):
        compare_writes(log, [*saved(log)[:-1], write])


def test_an_event_that_no_writer_has_written_is_found(log: Log) -> None:
    with pytest.raises(Disagreement, match="no writer has written 'roll'"):
        compare_writes(log, saved(log)[:-1])
