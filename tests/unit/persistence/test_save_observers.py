"""Observers of saves, which stop nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import IntegrityError

from eventsourcing_eventstoredb.save_observers import (
    Ended,
    Save,
    are_observed,
    observe_saves,
    observed,
)

SAVE = Save("dog-1", 2, is_snapshot=False)


class Observer:
    """Notes what it is told in a list that it shares with others."""

    def __init__(self, name: str, told: list[object]) -> None:
        self.name = name
        self.told = told

    def __call__(self, save: Save) -> Ended:
        self.told.append((self.name, save))

        def ended(error: BaseException | None) -> None:
            self.told.append((self.name, error))

        return ended


@pytest.fixture
def told() -> Iterator[list[object]]:
    told: list[object] = []
    ends = [observe_saves(Observer(name, told)) for name in ("first", "second")]
    yield told
    for end in ends:
        end()
    assert not are_observed()


def test_they_are_told_of_the_begin_and_the_end(told: list[object]) -> None:
    with observed(SAVE):
        told.append("saved")

    assert told == [
        ("first", SAVE),
        ("second", SAVE),
        "saved",
        ("second", None),
        ("first", None),
    ]


def test_they_are_told_of_an_error_which_goes_on(told: list[object]) -> None:
    error = IntegrityError("it is there")

    with pytest.raises(IntegrityError), observed(SAVE):
        raise error

    assert told[2:] == [("second", error), ("first", error)]


@pytest.mark.parametrize("fails_at_end", [False, True])
def test_one_that_fails_is_logged_and_stops_nothing(
    told: list[object], caplog: pytest.LogCaptureFixture, fails_at_end: bool
) -> None:
    def failing(save: Save) -> Ended:
        def ended(error: BaseException | None) -> None:
            raise ZeroDivisionError

        if not fails_at_end:
            raise ZeroDivisionError
        return ended

    end = observe_saves(failing)
    try:
        with observed(SAVE):
            told.append("saved")
    finally:
        end()

    assert "saved" in told
    assert told[-1] == ("first", None)
    assert "ZeroDivisionError" in caplog.text
