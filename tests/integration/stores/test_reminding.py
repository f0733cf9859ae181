"""Events that a subscription was not notified of, on the library's PostgreSQL."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.postgres import PostgresSubscription

from django_esdb.subscriptions import subscribing
from django_esdb.subscriptions.subscribing import with_subscription
from eventsourcing_eventstoredb.scheduler import scheduler
from example_project.training_school.application import TrainingSchool
from tests.support.other_stores import empty_store
from tests.support.supervising import wait_until

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.skipif(subscribing._SUBSCRIPTIONS_END is False, reason="it is polled"),
]


@pytest.fixture
def school(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrainingSchool]:
    for env in empty_store("postgresql", request, tmp_path):
        with with_subscription(TrainingSchool)(env) as app:
            yield app


def test_what_is_recorded_before_it_listens_is_seen(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked, may_listen = threading.Event(), threading.Event()
    select, listen = school.recorder.select_notifications, PostgresSubscription._listen

    def select_and_tell(*args: Any, **kwargs: Any) -> Any:
        found = select(*args, **kwargs)
        has_looked.set()
        return found

    def listen_late(subscription: PostgresSubscription) -> None:
        may_listen.wait(60)
        listen(subscription)

    monkeypatch.setattr(school.recorder, "select_notifications", select_and_tell)
    monkeypatch.setattr(PostgresSubscription, "_listen", listen_late)
    with school.recorder.subscribe() as subscription:
        assert has_looked.wait(60)
        recorded = school.register("Fido")
        may_listen.set()

        assert next(subscription).id == recorded


def test_reminders_end_with_the_subscription(school: TrainingSchool) -> None:
    # Others' may end meanwhile.
    before = set(scheduler._periodic)
    with school.recorder.subscribe() as subscription:
        [reminder] = set(scheduler._periodic) - before
    del subscription
    gc.collect()

    wait_until(lambda: reminder not in scheduler._periodic)
