"""A cluster whose leader is killed, frozen or away, as applications see it."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory, store_deadline
from eventsourcing_eventstoredb.exceptions import (
    PositionRefusedError,
    ReplacedStoreError,
    UnknownPositionError,
)
from eventsourcing_eventstoredb.protocol import outages, retrying
from eventsourcing_eventstoredb.protocol.clients import connector_of
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.streams import used_names
from eventsourcing_eventstoredb.streams.all_stream import AllStream
from tests.support.cluster import Cluster, Refusal


@contextmanager
def recording(
    cluster: Cluster, options: str = "", **more: str
) -> Iterator[EventStoreDBApplicationRecorder]:
    env = {"EVENTSTOREDB_URI": f"{cluster.uri}&{options}", **more}
    with closing(EventStoreDBFactory(env)) as factory:
        recorder = factory.application_recorder()
        assert isinstance(recorder, EventStoreDBApplicationRecorder)
        yield recorder


def save(
    recorder: EventStoreDBApplicationRecorder,
    dog: UUID,
    version: int = 0,
    state: bytes = b"{}",
) -> int | None:
    recorded = recorder.insert_events([StoredEvent(dog, version, "topic", state)])
    return recorded[0] if recorded else None


def test_reads_and_saves_leave_a_leader_that_is_frozen(cluster: Cluster) -> None:
    dog = uuid4()
    with recording(cluster) as recorder:
        save(recorder, dog)
        cluster.nodes[0].freeze()
        cluster.elect(1)

        assert len(recorder.select_events(dog)) == 1
        save(recorder, dog, 1)
        assert len(recorder.select_events(dog)) == 2

        cluster.nodes[0].wake()
        save(recorder, dog, 2)
        assert [event.originator_version for event in recorder.select_events(dog)] == [
            *(0, 1, 2)
        ]


def test_a_save_outlasts_an_election(cluster: Cluster) -> None:
    with recording(cluster) as recorder:
        dog = uuid4()
        save(recorder, dog)
        cluster.nodes[0].kill()
        cluster.leaderless()
        elected = threading.Timer(4.0, cluster.elect, [1])
        elected.start()

        save(recorder, uuid4())
        assert len(recorder.select_events(dog)) == 1
        elected.join()


def test_without_a_leader_the_error_says_so(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The error tells whole seconds, from the first on.
    monkeypatch.setattr(outages, "QUIET_SECONDS", 1.5)
    # In which nodes of a busy machine answer, too.
    monkeypatch.setattr(retrying, "CLUSTER_PATIENCE", 4.0)
    caplog.set_level(logging.INFO, "eventsourcing_eventstoredb")
    with recording(cluster) as recorder:
        save(recorder, uuid4())
        cluster.leaderless()

        # So long that a busy machine looks for one to the end.
        with pytest.raises(OperationalError) as raised, store_deadline(30):
            save(recorder, uuid4())
        text = str(raised.value)
        first = cluster.nodes[0].address

        cluster.elect(2)
        save(recorder, uuid4())

    warning, info = caplog.records
    assert (warning.levelname, info.levelname) == ("WARNING", "INFO")
    words = (
        rf"no leader among {first}, :\d+, :\d+ for \d+ s; the last that answered says: "
        rf"election; {first} \(unknown\), "
    )
    assert re.search(words, text)
    assert re.search(words, warning.getMessage())
    assert re.search(r" seconds=\d+\.\d$", info.getMessage())


def test_an_outage_is_logged_once_for_all_clients(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "QUIET_SECONDS", 0.5)
    caplog.set_level(logging.INFO, "eventsourcing_eventstoredb")
    with recording(cluster, "ConnectionName=other") as other:
        save(other, uuid4())
        cluster.leaderless()
        failed_at: list[float] = []
        for _ in range(2):
            # Each time with a new client, as terms of a projection have.
            with (
                pytest.raises(OperationalError),
                store_deadline(1),
                recording(cluster) as recorder,
            ):
                save(recorder, uuid4())
            failed_at.append(time.monotonic())
        with pytest.raises(OperationalError), store_deadline(1):
            save(other, uuid4())
        at_least = time.monotonic() - failed_at[0]
        cluster.elect(1)
        save(other, uuid4())

    warning, info = caplog.records
    assert (warning.levelname, info.levelname) == ("WARNING", "INFO")
    seconds = info.seconds  # type: ignore[attr-defined]
    # From the first failure of all; the log rounds it.
    assert seconds > at_least - 0.1


def test_a_plain_change_of_leader_is_not_logged(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eventsourcing_eventstoredb")
    with recording(cluster) as recorder:
        dog = uuid4()
        position = save(recorder, dog)
        with recorder.subscribe(gt=position) as subscription:
            cluster.nodes[0].kill()
            cluster.leaderless()
            elected = threading.Timer(1.0, cluster.elect, [1])
            elected.start()
            later = save(recorder, dog, 1)
            assert next(subscription).id == later
        elected.join()

    assert caplog.records == []


@pytest.mark.parametrize("refusal", list(Refusal))
def test_saves_go_to_the_leader_and_reads_where_they_are_preferred(
    cluster: Cluster, refusal: Refusal
) -> None:
    cluster.refuse_with(refusal)
    with recording(cluster, "NodePreference=follower") as recorder:
        dog = uuid4()
        connector = connector_of(recorder.client)
        preferred = connector.connection().target
        save(recorder, dog)
        elected = next(node for node in cluster.nodes[1:] if node.address != preferred)
        cluster.elect(elected.number)
        save(recorder, dog, 1)

        assert connector.connection().target == preferred
        assert connector.for_leader.connection().target == elected.address


def test_a_subscription_begins_wherever_the_client_is_connected(
    cluster: Cluster,
) -> None:
    with recording(cluster) as recorder:
        position = save(recorder, uuid4())
        cluster.elect(1)

        with recorder.subscribe(gt=position) as subscription:
            later = save(recorder, uuid4())
            assert next(subscription).id == later


@pytest.mark.parametrize("first", ["patient", "impatient"])
def test_one_look_limits_no_thread(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(retrying, "CLUSTER_PATIENCE", 60.0)
    heads: list[int | None] = []
    errors: list[OperationalError] = []
    with recording(cluster) as recorder:
        position = save(recorder, uuid4())
        cluster.leaderless()

        def read(seconds: float) -> None:
            try:
                with store_deadline(seconds):
                    heads.append(recorder.max_notification_id())
            except OperationalError as error:
                errors.append(error)

        patient = threading.Thread(target=read, args=[60])
        impatient = threading.Thread(target=read, args=[0.5])
        threads = [patient, impatient]
        for thread in threads if first == "patient" else reversed(threads):
            thread.start()
        impatient.join()
        assert len(errors) == 1
        assert patient.is_alive()

        cluster.elect(1)
        patient.join()
    assert heads == [position]
    assert len(errors) == 1


@pytest.mark.slow("the lag is 5 s")
def test_changes_of_lagging_nodes_hide_no_event(cluster: Cluster) -> None:
    with recording(cluster, "NodePreference=random") as recorder:
        before = save(recorder, uuid4())
        cluster.lag = 5
        connector = connector_of(recorder.client)
        is_over = threading.Event()
        passed: list[int | None] = []

        def change_nodes() -> None:
            while not is_over.wait(random.uniform(0.01, 0.2)):
                connector.replace(connector.connection())

        def look() -> None:
            while not is_over.wait(0.01):
                with suppress(OperationalError):
                    passed.append(recorder.passed_over_position(before))

        threads = [threading.Thread(target=each) for each in (change_nodes, look)]
        with recorder.subscribe(gt=before) as subscription:
            saved = [save(recorder, uuid4())]
            for thread in threads:
                thread.start()
            for _ in range(199):
                time.sleep(random.uniform(0.0, 0.02))
                saved.append(save(recorder, uuid4()))

            received = [next(subscription).id for _ in saved]
        is_over.set()
        for thread in threads:
            thread.join()

    assert received == saved
    # Something is there after it all the while.
    assert set(passed) <= {None}


def test_a_node_that_is_behind_is_waited_for(cluster: Cluster) -> None:
    with recording(cluster, "NodePreference=follower") as recorder:
        save(recorder, uuid4())
        position = save(recorder, uuid4())
        for node in cluster.nodes[1:]:
            node.kill()
            node.restart(behind=1)
        caught_up = threading.Timer(
            2.0, lambda: [node.catch_up() for node in cluster.nodes[1:]]
        )
        caught_up.start()

        with recorder.subscribe(gt=position) as subscription:
            later = save(recorder, uuid4())
            assert next(subscription).id == later
        caught_up.join()


def test_a_position_that_no_node_has_is_given_up(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eventsourcing_eventstoredb.subscriptions.lagging._PATIENCE", 0.5
    )
    with recording(cluster) as recorder:
        position = save(recorder, uuid4())
        assert position is not None

        with pytest.raises(UnknownPositionError):
            recorder.subscribe(gt=position + 1_000_000)


@pytest.mark.parametrize(
    ("state", "count", "expected"),
    [
        # Beyond its end, where nothing begins, and where another event lies.
        (b"{}", 1, UnknownPositionError),
        (b'{"a": "bit longer"}', 9, UnknownPositionError),
        (b"{}", 9, ReplacedStoreError),
    ],
)
def test_who_is_subscribed_notices_another_store(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    state: bytes,
    count: int,
    expected: type[PositionRefusedError],
) -> None:
    monkeypatch.setattr(
        "eventsourcing_eventstoredb.subscriptions.lagging._PATIENCE", 0.5
    )
    with recording(cluster) as recorder:
        positions = [save(recorder, uuid4()) for _ in range(3)]
        with recorder.subscribe(gt=positions[0]) as subscription:
            assert [next(subscription).id for _ in range(2)] == positions[1:]
            with cluster.another_store() as uri:
                fill(uri, state, count)

            with pytest.raises(expected, match="This is another store") as raised:
                subscription.next_batch(1, 60)
            assert raised.value.position == positions[-1]


def fill(uri: str, state: bytes, count: int) -> None:
    with closing(EventStoreDBFactory({"EVENTSTOREDB_URI": uri})) as factory:
        recorder = factory.application_recorder()
        assert isinstance(recorder, EventStoreDBApplicationRecorder)
        for _ in range(count):
            save(recorder, uuid4(), state=state)


def test_nodes_that_refuse_to_subscribe_are_not_taken_for_another_store(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eventsourcing_eventstoredb.subscriptions.lagging._PATIENCE", 0.1
    )
    refusals = iter(range(5))
    subscribe = AllStream.subscribe

    def refuse_at_first(self: AllStream, *args: Any, **kwargs: Any) -> Any:
        # As a node does that has lost its leader, and can be read from.
        if next(refusals, None) is not None:
            raise CallError(Reason.POSITION, "Exception was thrown by handler.")
        return subscribe(self, *args, **kwargs)

    with recording(cluster) as recorder:
        position = save(recorder, uuid4())
        with recorder.subscribe(gt=position) as subscription:
            monkeypatch.setattr(AllStream, "subscribe", refuse_at_first)
            cluster.nodes[0].kill()
            cluster.elect(1)
            later = save(recorder, uuid4())

            assert next(subscription).id == later
    assert next(refusals, None) is None


def test_who_looks_on_a_follower_that_lags_is_told_by_the_leader_what_was_deleted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(used_names, "ASK_SECONDS", 30.0)
    cluster.lag = 3_600
    name = f"{uuid4()}-dog"
    follower, ids = "NodePreference=follower", {"ORIGINATOR_ID_TYPE": "text"}
    with (
        recording(cluster, **ids) as other,
        recording(cluster, follower, **ids) as recorder,
    ):
        save(recorder, uuid4())
        other.insert_events([StoredEvent(name, 0, "topic", b"{}")])
        stream = other.layout.stream_name(name)
        other.client.delete_stream(stream, current_version=0)

        assert recorder.select_events(name) == []
        with pytest.raises(IntegrityError, match="cannot begin again"):
            recorder.insert_events([StoredEvent(name, 0, "topic", b"{}")])

        assert other.select_events(name) == []
