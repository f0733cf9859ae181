"""Trying again finds a server that is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb.protocol import retrying
from example_project.training_school.application import TrainingSchool
from tests.support.event_stores import EventStore
from tests.support.stores import school_at

# By itself gRPC looks every five seconds, so one round could find it by chance.
ROUNDS = 4


@pytest.fixture
def school(store: EventStore) -> Iterator[TrainingSchool]:
    with school_at(store) as school:
        yield school


def test_a_server_that_is_back_is_found_within_the_patience(
    store: EventStore, school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(ROUNDS):
        school.register(f"dog {number}")
        store.kill()
        with monkeypatch.context() as impatient:
            impatient.setattr(retrying, "PATIENCE", 0.5)
            with pytest.raises(OperationalError):
                school.recorder.max_notification_id()
        store.start()

        found = school.recorder.select_notifications(start=None, limit=9)
        assert len(found) == number + 1


def test_the_last_attempt_is_at_the_end_of_the_patience(
    school: TrainingSchool, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is back by then is found, whatever the pauses were before."""
    monkeypatch.setattr(retrying, "PATIENCE", 1.0)
    client = school.recorder.client  # type: ignore[attr-defined]
    store.kill()
    failed_at: list[float] = []

    def attempt(seconds: float) -> None:
        failed_at.append(time.monotonic())
        raise OperationalError

    with pytest.raises(OperationalError):
        retrying.with_retries(client, attempt, 60.0)

    assert failed_at[-1] - failed_at[0] >= 1.0


def test_the_first_call_after_a_clean_shutdown_does_not_hang(
    store: EventStore, school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gRPC's own retries it did, more often than not, whatever its deadline."""
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    recorder = school.recorder
    for _ in range(ROUNDS):
        dog = uuid4()
        recorder.insert_events([StoredEvent(dog, 0, "topic", b"{}")])
        store.stop()

        with pytest.raises(OperationalError):
            recorder.insert_events([StoredEvent(dog, 1, "topic", b"{}")])

        store.start()
        with monkeypatch.context() as patient:
            patient.setattr(retrying, "PATIENCE", 10.0)
            recorder.insert_events([StoredEvent(dog, 1, "topic", b"{}")])
