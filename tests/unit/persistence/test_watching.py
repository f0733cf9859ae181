"""Calls that gRPC does not end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from eventsourcing_eventstoredb.protocol import watching
from eventsourcing_eventstoredb.protocol.watching import Watcher
from tests.support.collecting import at_each_line


class Hanging:
    """A call, and its channel, that end when they are told to so often."""

    def __init__(self, *, needs_close: bool) -> None:
        self.is_over = threading.Event()
        self.is_closed = False
        self._needs_close = needs_close

    def cancel(self) -> None:
        if not self._needs_close:
            self.is_over.set()

    def close(self) -> None:
        self.is_closed = True
        self.is_over.set()


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GRACE_SECONDS", 0.01)


@pytest.mark.parametrize("needs_close", [False, True])
def test_a_late_call_ends_whatever_it_takes(needs_close: bool) -> None:
    watcher = Watcher()
    hanging = Hanging(needs_close=needs_close)

    watch = watcher.begin(hanging, hanging, 0.01)
    assert hanging.is_over.wait(60)
    watcher.end(watch)

    assert watch.is_late
    if needs_close:
        assert hanging.is_closed


def test_calls_that_begin_later_may_end_earlier() -> None:
    watcher = Watcher()
    patient, hasty = Hanging(needs_close=False), Hanging(needs_close=False)
    first = watcher.begin(patient, patient, 600)
    second = watcher.begin(hasty, hasty, 0.01)

    assert hasty.is_over.wait(60)
    assert second.is_late
    assert not first.is_late
    for watch in (first, second):
        watcher.end(watch)
    watcher.rest()


def failing() -> float | None:
    raise RuntimeError


@pytest.mark.parametrize("look", [lambda: None, failing])
def test_who_does_not_get_longer_is_broken_off(
    look: Callable[[], float | None],
) -> None:
    watcher = Watcher()
    hanging = Hanging(needs_close=True)
    looks = iter([0.01, 0.01])

    watch = watcher.begin(hanging, hanging, 0.01, lambda: next(looks, None) or look())
    assert hanging.is_over.wait(60)
    watcher.end(watch)

    assert next(looks, None) is None


def test_a_call_that_is_over_is_left_alone() -> None:
    watcher = Watcher()
    over, hanging = Hanging(needs_close=False), Hanging(needs_close=False)
    watch = watcher.begin(over, over, 60)
    watcher.end(watch)
    watch.due = 0

    # The thread has looked at all calls when it ends this one.
    late = watcher.begin(hanging, hanging, 0.01)
    assert hanging.is_over.wait(60)
    watcher.end(late)
    watcher.rest()

    assert not over.is_over.is_set()
    assert not watch.is_late


def test_a_watch_may_be_ended_in_the_thread_that_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when something is collected there whose call is watched."""
    watcher = Watcher()
    other = watching.Watch(None, Hanging(needs_close=False), 600)
    start = threading.Thread.start

    def start_and_end(thread: threading.Thread) -> None:
        ending = threading.Thread(target=watcher.end, args=(other,))
        start(ending)
        ending.join(60)
        assert not ending.is_alive()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_and_end)
    hanging = Hanging(needs_close=False)
    watcher.end(watcher.begin(hanging, hanging, 600))
    watcher.rest()


def test_a_watch_may_be_ended_wherever_a_thread_is() -> None:
    """As when what reads is collected while another read begins or ends."""
    watcher = Watcher()
    late, other = Hanging(needs_close=True), Hanging(needs_close=False)
    collected = watcher.begin(Hanging(needs_close=False), other, 600)

    def use() -> None:
        with at_each_line(lambda: watcher.end(collected), watching):
            watcher.begin(late, late, 0.01)
            late.is_over.wait(60)
            watcher.end(watcher.begin(other, other, 600))
            watcher.rest()

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(60)

    assert not thread.is_alive()
    assert late.is_closed
    assert not other.is_closed
