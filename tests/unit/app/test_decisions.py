"""What is done about which error, line by line of the table in the code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from eventsourcing.persistence import OperationalError

from django_esdb.exceptions import (
    ConfigurationError,
    EventProcessingError,
    LeaseHeldError,
    LeaseLostError,
    OtherStoreError,
    PositionMovedError,
    ProjectionPausedError,
)
from django_esdb.runner.decisions import (
    MAX_FAILED_TURNS,
    Action,
    Decision,
    Known,
    decide,
)
from eventsourcing_eventstoredb.exceptions import NodeBehindError


@dataclass(frozen=True)
class Case:
    line: str
    error: BaseException
    decision: Decision
    known: dict[str, Any] = field(default_factory=dict)


FAIL = Decision(Action.FAIL)
STOP = Decision(Action.STOP)
STAND_BY = Decision(Action.STAND_BY, 0.5)
AWAY = OperationalError("it is away")
HELD, LOST, PAUSED = LeaseHeldError(), LeaseLostError(), ProjectionPausedError()
BEHIND = NodeBehindError("it has yet to reach 5")
RESET = LeaseLostError()
RESET.was_reset = True
REBUILT = LeaseHeldError()
REBUILT.is_rebuild = True
EVENT = EventProcessingError()
OWNER = {"has_begun": True, "has_lease": True}
GIVEN_UP = {**OWNER, "is_given_up": True}

# In the order of the table, one for each line.
CASES = [
    Case(
        "another process has the lease, to rebuild it",
        REBUILT,
        STAND_BY,
        {"exclusive": True},
    ),
    Case(
        "another process has the lease: exclusive",
        HELD,
        FAIL,
        {"exclusive": True, "stopping": True},
    ),
    Case("another process has the lease", HELD, STAND_BY),
    Case(
        "the projection is paused: fail fast or until caught up",
        PAUSED,
        FAIL,
        {"fail_fast": True},
    ),
    Case("the projection is paused", PAUSED, STAND_BY),
    Case(
        "the lease was lost, since it was reset, rebuilt or paused",
        RESET,
        Decision(Action.STAND_BY),
        {**OWNER, "exclusive": True},
    ),
    Case("the lease was lost: exclusive", LOST, FAIL, {**OWNER, "exclusive": True}),
    Case("the lease was lost", LOST, Decision(Action.STAND_BY), OWNER),
    Case(
        "a node of the event store is behind: stopping",
        BEHIND,
        STOP,
        {**OWNER, "stopping": True},
    ),
    Case(
        "a node of the event store is behind",
        BEHIND,
        Decision(Action.RETRY, 0.5),
        {"until_caught_up": True, "fail_fast": True, "failed_turns": 100},
    ),
    Case(
        "an event failed and is given up: fail fast or until caught up",
        EVENT,
        FAIL,
        {**GIVEN_UP, "until_caught_up": True},
    ),
    Case(
        "an event failed and is given up",
        EVENT,
        Decision(Action.PAUSE),
        {**GIVEN_UP, "stopping": True},
    ),
    Case("an event failed: stopping", EVENT, STOP, {**OWNER, "stopping": True}),
    Case(
        "an event failed",
        EVENT,
        Decision(Action.RETRY, 2.0),
        {**OWNER, "event_failures": 3, "failed_turns": 9},
    ),
    Case(
        "transient, never begun: stopping, store is waited for",
        AWAY,
        STOP,
        {"awaits_store": True, "stopping": True},
    ),
    Case(
        "transient, never begun: store is waited for",
        AWAY,
        Decision(Action.RETRY, 5.0),
        {"awaits_store": True, "failed_turns": 9, "until_caught_up": True},
    ),
    Case(
        "transient, never begun: fail fast or until caught up",
        AWAY,
        FAIL,
        {"fail_fast": True, "may_begin_again": True, "stopping": True},
    ),
    Case(
        "transient: stopping",
        PositionMovedError(),
        STOP,
        {"stopping": True, "may_begin_again": None},
    ),
    Case(
        "transient, never begun: not known whether another could begin",
        AWAY,
        Decision(Action.ASK_OTHERS),
        {"may_begin_again": None},
    ),
    Case("transient, never begun: none other could begin", AWAY, FAIL),
    Case(
        "transient, never begun: another could begin",
        AWAY,
        Decision(Action.RETRY, 5.0),
        {"may_begin_again": True, "failed_turns": 100},
    ),
    Case(
        "transient, owner: until caught up, too many failed turns",
        AWAY,
        FAIL,
        {**OWNER, "until_caught_up": True, "failed_turns": MAX_FAILED_TURNS},
    ),
    Case(
        "transient, owner",
        AWAY,
        Decision(Action.RETRY, 5.0),
        {**OWNER, "failed_turns": 5},
    ),
    Case(
        "transient, standing by",
        AWAY,
        Decision(Action.RETRY, 5.0),
        {"has_begun": True, "until_caught_up": True, "failed_turns": 100},
    ),
    Case("anything else", OtherStoreError(), FAIL, OWNER),
]

# Errors of other kinds that the last line is about.
OTHERS = [
    ConfigurationError(),
    RuntimeError(),
    SystemExit(),
    KeyboardInterrupt(),
]


def table() -> list[tuple[str, str]]:
    """Return the lines of the table: what is so, and the decision."""
    text = decide.__doc__ or ""
    _, _, rest = text.partition("decision\n")
    lines = rest.split("\n")[1:]
    end = next(number for number, line in enumerate(lines) if "====" in line)
    found = []
    for line in lines[:end]:
        what, _, decision = line.strip().rpartition("  ")
        found.append((what.strip(), decision.strip()))
    return found


def test_each_line_of_the_table_has_a_case_and_no_other() -> None:
    assert [case.line for case in CASES] == [what for what, _ in table()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_a_line_of_the_table(case: Case) -> None:
    decided = decide(case.error, Known(**case.known))

    assert decided == case.decision
    said = dict(table())[case.line].split(",")[0]
    assert decided.action.name.lower() == said.replace(" ", "_")


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_what_no_line_names_is_the_end(error: BaseException) -> None:
    assert decide(error, Known(**OWNER, stopping=True)) == FAIL


def test_with_until_caught_up_an_outage_is_survived_for_some_turns() -> None:
    known = {**OWNER, "until_caught_up": True}

    decisions = [
        decide(AWAY, Known(**known, failed_turns=turns)).action
        for turns in range(1, MAX_FAILED_TURNS + 1)
    ]

    assert decisions == [Action.RETRY] * (MAX_FAILED_TURNS - 1) + [Action.FAIL]


def test_an_error_that_is_caught_by_its_base_class_is_decided_by_what_it_is() -> None:
    # An error of the app's, and transient.
    assert decide(PositionMovedError(), Known(**OWNER)).action is Action.RETRY


def test_a_pause_by_hand_is_no_reason_to_fail_where_another_owner_is() -> None:
    paused = LeaseLostError()
    paused.was_paused = True

    found = decide(paused, Known(**OWNER, exclusive=True))

    assert found == Decision(Action.STAND_BY)
