"""What receivers of signals may do, and where they are called."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection

from django_esdb import signals
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from tests.support.heard_signals import ALL
from tests.support.projects import ROOT
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def nameless() -> Any:
    """Return a receiver of which Django cannot report an error."""

    def failing(number: int, **kwargs: Any) -> None:
        raise ZeroDivisionError

    return partial(failing, 1)


def named() -> Any:
    def failing(**kwargs: Any) -> None:
        raise ZeroDivisionError

    return failing


@pytest.mark.any_database
@pytest.mark.parametrize("make_receiver", [named, nameless])
def test_a_receiver_that_fails_is_logged_and_stops_nothing(
    school: TrainingSchool,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
    make_receiver: Callable[[], Any],
) -> None:
    receiver = make_receiver()
    for signal in ALL.values():
        signal.connect(receiver)
    school.register("Fido")
    try:
        with caplog.at_level(logging.ERROR):
            catch_up(school_projection)
    finally:
        for signal in ALL.values():
            signal.disconnect(receiver)

    assert Dog.objects.count() == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_receiver_may_use_the_database_that_the_batch_is_committed_to(
    school: TrainingSchool, school_projection: Registration
) -> None:
    seen: list[tuple[int, bool]] = []

    def look(**kwargs: Any) -> None:
        seen.append((Dog.objects.count(), connection.in_atomic_block))

    signals.batch_committed.connect(look)
    school.register("Fido")
    catch_up(school_projection)
    signals.batch_committed.disconnect(look)

    # Once more for each time that others' events were passed over.
    assert set(seen) == {(1, False)}


@pytest.mark.any_database
def test_signals_come_from_the_projections_threads(
    school: TrainingSchool, school_projection: Registration
) -> None:
    threads: set[threading.Thread] = set()

    def note(**kwargs: Any) -> None:
        threads.add(threading.current_thread())

    for signal in ALL.values():
        signal.connect(note)
    school.register("Fido")
    with running(school_projection) as this:
        wait_until(lambda: Dog.objects.exists())
    for signal in ALL.values():
        signal.disconnect(note)

    assert this.thread in threads
    assert threading.current_thread() not in threads


@pytest.mark.any_database
def test_each_signal_is_documented() -> None:
    assert signals.__doc__ is not None
    page = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
    for name in ALL:
        assert f"``{name}``" in signals.__doc__
        assert f"\n| `{name}` |" in page
