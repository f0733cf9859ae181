"""How fast a projection is: counting over the last minute."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from django_esdb.runner.batches.progress import RATE_SECONDS, Pace, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_of_the_last_minute() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(7, 100)

    for second in range(1, 91):
        clock.now += 1
        progress.moved(10, 100 + 50 * second)

    assert progress.pace() == Pace(rate=10.0, speed=50.0)
    assert (progress.began, progress.processed) == (7, 907)


def test_what_has_just_begun_is_not_faster_than_it_is() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(0, 0)
    clock.now += 0.001
    progress.moved(5, 5)

    assert progress.pace().rate == 5.0


def test_one_that_stands_still_is_at_nothing_a_minute_later() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(0, 0)
    for _ in range(10):
        clock.now += 0.3
        progress.moved(100, 100)
    for _ in range(59):
        clock.now += 1
        assert progress.pace().rate > 0
    clock.now += 2

    progress.pace()

    assert progress.pace() == Pace(0.0, 0.0)


def test_where_the_first_event_lies_makes_it_no_faster() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(0, None)
    clock.now += 1
    progress.moved(1, 1_000_000)
    clock.now += 1
    progress.moved(1, 1_000_100)

    assert progress.pace().speed == 50.0


def test_before_it_begins_nothing_is_known() -> None:
    progress = Progress(Clock())

    assert progress.pace() == Pace()
    assert progress.began is None


@given(
    st.lists(
        st.tuples(st.floats(0.01, 90), st.integers(0, 500)), min_size=1, max_size=200
    )
)
def test_a_rate_is_never_of_more_than_the_events_of_two_minutes(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin(0, 0)
    moves: list[tuple[float, int]] = []
    for seconds, events in steps:
        clock.now += seconds
        progress.moved(events, int(clock.now))
        moves.append((clock.now, events))
        rate = progress.pace().rate
        # A sample may be older than a minute, by the pause before the next one.
        oldest = clock.now - RATE_SECONDS
        recent = sum(count for at, count in moves if at > oldest)
        assert rate * RATE_SECONDS >= 0
        assert rate <= sum(count for _, count in moves)
        if recent == sum(count for _, count in moves) and clock.now - 1000 >= 1:
            elapsed = min(clock.now - 1000, RATE_SECONDS)
            assert abs(rate - recent / elapsed) < 1e-6
    # Kept small, however long it runs.
    assert len(progress._samples) <= RATE_SECONDS + 3


def test_who_waits_for_what_is_committed_does_not_wait() -> None:
    progress = Progress(Clock())
    progress.begin(0, 0)

    progress.wait(0, timeout=60)
    progress.moved(3, 7)
    progress.wait(5, timeout=60)


def test_who_waits_for_what_will_not_come_is_woken_at_the_end() -> None:
    progress = Progress(Clock())
    progress.begin(0, None)
    waiting = threading.Thread(target=progress.wait, args=(0, 60), daemon=True)
    waiting.start()
    progress.moved(0, -1)

    assert waiting.is_alive()
    progress.end()
    waiting.join()
