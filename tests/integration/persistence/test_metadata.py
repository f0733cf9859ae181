"""Metadata of events, as it lies in the store and as others read it."""

from __future__ import annotations

import base64
import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    ProgrammingError,
)

from eventsourcing_eventstoredb import EventStoreDBFactory, event_metadata
from eventsourcing_eventstoredb.metadata import (
    CAUSATION_ID,
    CORRELATION_ID,
    MAX_BYTES,
    handling,
    metadata_from,
    metadata_of,
)
from eventsourcing_eventstoredb.protocol import batching
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.counters import CounterFromOne
from tests.support.running_stores import own_stream
from tests.support.supervising import wait_until

DATA = Path(__file__).resolve().parents[2] / "data"

MakeSchool = Callable[..., TrainingSchool]


def provided() -> dict[str, str]:
    return {"host": "here", "user": "anonymous"}


def badly_provided() -> dict[str, str]:
    return {"user": 7}  # type: ignore[dict-item]


@pytest.fixture
def make(server: EmbeddedServer) -> Iterator[MakeSchool]:
    made: list[Application[UUID]] = []

    def make(application_class: Any = TrainingSchool, **env: str) -> Any:
        application = application_class(
            {
                "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
                "EVENTSTOREDB_URI": server.uri,
                **env,
            }
        )
        made.append(application)
        return application

    yield make
    for application in made:
        application.close()


def stored(server: EmbeddedServer, stream: str) -> list[Any]:
    """Return the events of a stream as the client library has them."""
    with EventStoreDBClient(server.uri) as client:
        return list(client.get_stream(stream))


def read_as_published(events: list[Any]) -> list[tuple[int, str, bytes]]:
    """Return what the published package makes of a stream of events."""
    return [(each.stream_position, each.type, each.data) for each in events]


def test_it_lies_in_the_store_as_json(server: EmbeddedServer, make: MakeSchool) -> None:
    school = make()
    school.register("Fido")
    with event_metadata(user="7", tenant="a"):
        school.add_trick("Fido", "roll over")
    school.add_trick("Fido", "play dead")

    metadata = [
        each.metadata
        for each in stored(server, own_stream(server, str(Dog.create_id("Fido"))))
    ]
    assert metadata[0] == metadata[2] == b""
    assert json.loads(metadata[1]) == {"user": "7", "tenant": "a"}


def test_notifications_have_it(make: MakeSchool) -> None:
    school = make()
    with event_metadata(user="7"):
        school.register("Fido")
    school.add_trick("Fido", "roll over")

    selected = school.recorder.select_notifications(None, 10)
    with school.recorder.subscribe() as subscription:
        received = [next(subscription), next(subscription)]

    expected = [{"user": "7"}, {}]
    assert [metadata_of(each) for each in selected] == expected
    assert [metadata_of(each) for each in received] == expected


def test_all_events_of_a_save_have_it_and_their_versions(
    server: EmbeddedServer, make: MakeSchool
) -> None:
    counters = make(
        Application, EVENTSTOREDB_FIRST_VERSION="1", IS_SNAPSHOTTING_ENABLED="y"
    )
    counter = CounterFromOne()
    counter.increase()
    with event_metadata(user="7"):
        counters.save(counter)
        counters.take_snapshot(counter.id)

    events = stored(server, own_stream(server, str(counter.id)))
    snapshots = stored(server, f"snapshot-${own_stream(server, str(counter.id))}")
    assert [json.loads(each.metadata) for each in events] == [
        {"originator_version": 1, "user": "7"},
        {"originator_version": 2, "user": "7"},
    ]
    assert [each.metadata for each in snapshots] == [b'{"originator_version": 2}']
    assert counters.repository.get(counter.id).total == 1
    assert [
        metadata_of(each) for each in counters.recorder.select_notifications(None, 9)
    ] == [{"user": "7"}, {"user": "7"}]


def test_a_thread_that_saves_says_what_it_was_started_with(make: MakeSchool) -> None:
    school = make()
    with event_metadata(user="7"):
        thread = threading.Thread(target=school.register, args=("Fido",))
        thread.start()
    thread.join()

    (registered,) = school.recorder.select_notifications(None, 10)
    assert metadata_of(registered) == {"user": "7"}


def test_threads_that_work_for_all_keep_nothing_alive(
    make: MakeSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else it ends in the meantime, and with it what it keeps.
    monkeypatch.setattr(batching, "IDLE_SECONDS", 3600.0)

    class Request:
        def metadata(self) -> dict[str, str]:
            return {"user": "7"}

    request = Request()
    kept = weakref.ref(request)
    with metadata_from(request.metadata):
        school = make()
        # The first ones of the process's threads, or of the client's at least.
        school.register("Fido")
        school.get_dog_details("Fido")
        with school.recorder.subscribe() as subscription:
            next(subscription)
    del request

    def is_gone() -> bool:
        # Threads of the subscription are ending.
        gc.collect()
        return kept() is None

    wait_until(is_gone)
    assert any(each.name == batching.THREAD_NAME for each in threading.enumerate())


def test_what_is_saved_while_an_event_is_handled_follows_from_it(
    server: EmbeddedServer, make: MakeSchool
) -> None:
    school = make()
    school.register("Fido")
    for name in ("Rex", "Max"):
        cause = school.recorder.select_notifications(None, 10)[-1]
        with handling(cause):
            school.register(name)

    first, second, third = (
        stored(server, own_stream(server, str(Dog.create_id(name))))[0]
        for name in ("Fido", "Rex", "Max")
    )
    root = str(first.id)
    assert json.loads(second.metadata) == {CORRELATION_ID: root, CAUSATION_ID: root}
    assert json.loads(third.metadata) == {
        CORRELATION_ID: root,
        CAUSATION_ID: str(second.id),
    }


def test_too_much_fails_the_save(make: MakeSchool) -> None:
    school = make()

    with event_metadata(note="secret" * MAX_BYTES), pytest.raises(DataError) as raised:
        school.register("Fido")

    assert "'note'" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert school.recorder.max_notification_id() is None
    school.register("Fido")


def test_a_provider_adds_more(make: MakeSchool) -> None:
    school = make(EVENTSTOREDB_EVENT_METADATA=f"{__name__}.provided")
    with event_metadata(user="7"):
        school.register("Fido")

    (registered,) = school.recorder.select_notifications(None, 10)
    assert metadata_of(registered) == {"host": "here", "user": "7"}


def test_what_a_provider_returns_wrongly_fails_the_save(make: MakeSchool) -> None:
    school = make(EVENTSTOREDB_EVENT_METADATA=f"{__name__}.badly_provided")

    with pytest.raises(ProgrammingError, match=r"badly_provided .*'user' is of type"):
        school.register("Fido")
    assert school.recorder.max_notification_id() is None


def test_a_provider_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(
        InfrastructureFactoryError, match="EVENTSTOREDB_EVENT_METADATA cannot be used"
    ):
        EventStoreDBFactory(
            {
                "EVENTSTOREDB_URI": "esdb://127.0.0.1:1?Tls=false",
                "EVENTSTOREDB_EVENT_METADATA": "no.such.provider",
            }
        )


def test_published_events_go_on_and_are_read_both_ways(
    server: EmbeddedServer, make: MakeSchool
) -> None:
    lines = [
        json.loads(line)
        for line in (DATA / "training_school.jsonl").read_text().splitlines()
    ]
    for line in lines:
        prefix, _, name = line["stream"].rpartition("$")
        line["name"] = f"{prefix}${own_stream(server, name)}" if prefix else ""
        line["name"] = line["name"] or own_stream(server, name)
    with EventStoreDBClient(server.uri) as client:
        for line in lines:
            client.append_events(
                line["name"],
                current_version=StreamState.ANY,
                events=[
                    NewEvent(
                        type=line["type"],
                        data=base64.b64decode(line["data"]),
                        metadata=base64.b64decode(line["metadata"]),
                        content_type=line["content_type"],
                        id=UUID(line["id"]),
                    )
                ],
            )
    expected = json.loads((DATA / "training_school_expected.json").read_text())
    school = make(IS_SNAPSHOTTING_ENABLED="y")

    # What the published package wrote, this one reads as before, and says nothing of.
    for name, details in expected.items():
        read = school.get_dog_details(name)
        assert (read["name"], list(read["tricks"])) == (
            details["name"],
            details["tricks"],
        )
    notifications = school.recorder.select_notifications(None, 1000)
    assert len(notifications) == len([n for n in lines if "$" not in n["stream"]])
    assert {json.dumps(metadata_of(each)) for each in notifications} == {"{}"}

    # What this one adds, the published one reads as if nothing was said of it.
    for name, details in expected.items():
        stream = own_stream(server, str(Dog.create_id(name)))
        before = stored(server, stream)
        with event_metadata(user="7"):
            school.add_trick(name, "be read")
        after = stored(server, stream)
        added = after[-1]
        assert read_as_published(after[:-1]) == read_as_published(before)
        assert (added.stream_position, json.loads(added.metadata)) == (
            len(before),
            {"user": "7"},
        )
        assert list(school.get_dog_details(name)["tricks"]) == [
            *details["tricks"],
            "be read",
        ]
        # Snapshots say their version and nothing else.
        with event_metadata(user="7"):
            school.take_snapshot(Dog.create_id(name))
        snapshot = stored(server, f"snapshot-${stream}")[-1]
        assert json.loads(snapshot.metadata) == {"originator_version": len(before)}
