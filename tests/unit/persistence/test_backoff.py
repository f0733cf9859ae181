"""Pauses between attempts, and the loop that makes them."""

from __future__ import annotations

import pytest

from eventsourcing_eventstoredb.backoff import Backoff, keep_trying


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=3.0, spread=0)

    assert [backoff.next_pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_pauses_vary_by_a_quarter() -> None:
    backoff = Backoff(first=1.0, longest=1.0)

    pauses = [backoff.next_pause() for _ in range(200)]

    assert all(0.75 <= pause <= 1.0 for pause in pauses)
    assert len(set(pauses)) > 100


def test_pauses_begin_short_again_after_a_success() -> None:
    backoff = Backoff(first=0.5, longest=3.0, spread=0)
    backoff.next_pause()
    backoff.next_pause()

    backoff.reset()

    assert backoff.next_pause() == 0.5


@pytest.mark.parametrize(
    ("number", "seconds"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (10**6, 30.0)]
)
def test_any_pause_can_be_asked_for(number: int, seconds: float) -> None:
    assert Backoff(first=0.5, longest=30.0).nth_pause(number) == seconds


def test_it_is_tried_until_it_succeeds() -> None:
    failures = [OSError(), OSError()]
    waited: list[float] = []

    def attempt() -> str:
        if failures:
            raise failures.pop()
        return "done"

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return True

    assert keep_trying(attempt, lambda error: 0.25, wait) == "done"
    assert waited == [0.25, 0.25]


def test_what_has_no_pause_is_raised() -> None:
    def attempt() -> None:
        raise OSError("for good")

    with pytest.raises(OSError, match="for good"):
        keep_trying(attempt, lambda error: None, lambda seconds: True)


def test_nothing_is_tried_when_waiting_was_ended() -> None:
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        raise OSError

    assert keep_trying(attempt, lambda error: 0.0, lambda seconds: False) is None
    assert len(attempts) == 1
