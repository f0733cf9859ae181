"""The subscription that selects again and again, on the library's SQLite recorder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from django_esdb.subscriptions.polling import PollingSubscription


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[SQLiteApplicationRecorder]:
    datastore = SQLiteDatastore(str(tmp_path / "events.sqlite3"))
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()
    yield recorder
    datastore.close()


def record(recorder: SQLiteApplicationRecorder, *topics: str) -> list[int]:
    """Record an event of each topic; return their IDs."""
    aggregate: UUID = uuid4()
    ids = recorder.insert_events(
        [
            StoredEvent(aggregate, version, topic, b"")
            for version, topic in enumerate(topics)
        ]
    )
    assert ids is not None
    return list(ids)


class Pauses(threading.Event):
    """Notes how long was to be waited, and lets something happen instead."""

    def __init__(self, *happens: Any) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self._happens = list(happens)

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if self._happens:
            self._happens.pop(0)()
        return self.is_set()


def ids_of(subscription: PollingSubscription, limit: int = 10) -> list[int]:
    return [notification.id for notification in subscription.next_batch(limit)]


def test_notifications_come_in_order_and_once(
    recorder: SQLiteApplicationRecorder,
) -> None:
    ids = record(recorder, *"abcde")
    subscription = PollingSubscription(recorder, gt=ids[0])

    assert ids_of(subscription, 3) == ids[1:4]
    assert subscription.state.phase == "catching up"
    assert ids_of(subscription, 3) == ids[4:]
    assert subscription.state.phase == "live"
    later = record(recorder, *"fg")
    assert [next(subscription).id, next(subscription).id] == later


def test_large_events_are_selected_few_at_a_time(
    recorder: SQLiteApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate = uuid4()
    recorder.insert_events(
        [StoredEvent(aggregate, version, "a", bytes(500_000)) for version in range(40)]
    )
    sizes: list[int] = []
    select = recorder.select_notifications

    def noted(*args: Any, **kwargs: Any) -> Any:
        selected = select(*args, **kwargs)
        sizes.append(sum(len(each.state) for each in selected))
        return selected

    monkeypatch.setattr(recorder, "select_notifications", noted)
    subscription = PollingSubscription(recorder)

    found: list[int] = []
    while len(found) < 40:
        batch = ids_of(subscription, 10_000)
        found += batch
        assert batch

    assert found == sorted(set(found))
    # Nothing is known of the first ones.
    assert sizes[0] <= 16 * 500_000
    assert max(sizes[1:]) <= 4 * 1024 * 1024


def test_small_events_are_selected_many_at_a_time(
    recorder: SQLiteApplicationRecorder,
) -> None:
    ids = record(recorder, *"a" * 400)
    subscription = PollingSubscription(recorder)

    batches = [ids_of(subscription, 500) for _ in range(5)]

    assert [each for batch in batches for each in batch] == ids[: 16 + 64 + 300]
    assert subscription.state.phase == "catching up"


def test_only_wanted_topics_come(recorder: SQLiteApplicationRecorder) -> None:
    ids = record(recorder, *"abab")
    subscription = PollingSubscription(recorder, topics=["b"])

    assert ids_of(subscription) == [ids[1], ids[3]]


def test_what_is_not_wanted_is_looked_through_once(
    recorder: SQLiteApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = recorder.select_notifications
    starts: list[int | None] = []

    def noting(start: int | None, *arguments: Any, **options: Any) -> Any:
        starts.append(start)
        return select(start, *arguments, **options)

    monkeypatch.setattr(recorder, "select_notifications", noting)
    last = record(recorder, *"aaa")[-1]
    subscription = PollingSubscription(recorder, topics=["b"])
    wanted: list[int] = []
    subscription._stopping = Pauses(
        lambda: None, lambda: wanted.extend(record(recorder, "b"))
    )

    assert ids_of(subscription) == wanted
    assert starts == [None, last]


def test_pauses_grow_while_there_is_nothing_and_restart(
    recorder: SQLiteApplicationRecorder,
) -> None:
    subscription = PollingSubscription(recorder)
    nothing = [lambda: None] * 8
    pauses = Pauses(*nothing, lambda: record(recorder, "a"))
    subscription._stopping = pauses

    subscription.next_batch(10)

    assert pauses.seconds == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]
    again = Pauses(lambda: record(recorder, "b"))
    subscription._stopping = again
    subscription.next_batch(10)
    assert again.seconds == [0.02]


def test_a_waiting_reader_is_told_of_the_end(
    recorder: SQLiteApplicationRecorder,
) -> None:
    subscription = PollingSubscription(recorder)
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(list(subscription)))
    waiting.start()

    subscription.stop()

    waiting.join(60)
    assert got == [[]]
    assert subscription.state.phase == "stopped"
    assert ids_of(subscription) == []


def test_what_was_taken_is_not_given_after_the_end(
    recorder: SQLiteApplicationRecorder,
) -> None:
    record(recorder, *"abc")
    subscription = PollingSubscription(recorder)
    next(subscription)

    subscription.stop()

    assert list(subscription) == []


def test_errors_of_the_recorder_are_raised(tmp_path: Path) -> None:
    datastore = SQLiteDatastore(str(tmp_path / "events.sqlite3"))
    subscription = PollingSubscription(SQLiteApplicationRecorder(datastore))

    with pytest.raises(OperationalError):
        # There is no table.
        subscription.next_batch(10)

    datastore.close()
