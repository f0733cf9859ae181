from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import proposals, saving
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.errors import CallError
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.storage.database import Database
from tests.support.client_library import (
    EventStoreDBClient,
    EventStoreDBClientException,
    InternalError,
    NewEvent,
    StreamIsDeleted,
    StreamState,
)

WRITERS = 6


def start_process(file: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [
            sys.executable,
            *("-m", "eventsourcing_eventstoredb.server"),
            *("--port", "0", "--data", str(file)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    return process, line.removeprefix("listening on ").strip()


def append_until_it_breaks(uri: str, stream: str) -> list[tuple[uuid.UUID, int]]:
    """Append by revision; return what was acknowledged, and where."""
    acknowledged = []
    with EventStoreDBClient(uri) as client:
        while True:
            size = random.choice([1, 1, 3])
            events = [NewEvent("T", b"x" * 200) for _ in range(size)]
            revision = len(acknowledged) - 1
            try:
                position = client.append_events(
                    stream,
                    current_version=StreamState.NO_STREAM if revision < 0 else revision,
                    events=events,
                )
            except EventStoreDBClientException:
                return acknowledged
            acknowledged += [(event.id, -1) for event in events[:-1]]
            acknowledged.append((events[-1].id, position))


def save_until_it_breaks(client: Client, stream: str) -> list[tuple[uuid.UUID, int]]:
    """As the other, over the one call of all that save with the client."""
    acknowledged: list[tuple[uuid.UUID, int]] = []
    while True:
        events = [
            ProposedEvent(type="T", data=b"x" * 200)
            for _ in range(random.choice([1, 1, 3]))
        ]
        expected = (
            len(acknowledged) - 1 if acknowledged else proposals.StreamState.NO_STREAM
        )
        try:
            appended = saving.append(client, stream, expected, events, 10)
        except CallError:
            return acknowledged
        acknowledged += [(event.id, -1) for event in events[:-1]]
        acknowledged.append((events[-1].id, appended.commit_position))


@pytest.mark.slow("kills a server several times")
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path):
    file = tmp_path / "events.db"
    acknowledged: dict[str, list[tuple[uuid.UUID, int]]] = {}
    for turn in range(5):
        process, uri = start_process(file)
        shared = Client(parse_connection(uri))
        with ThreadPoolExecutor(2 * WRITERS) as executor, closing(shared):
            running = {
                name: executor.submit(append_until_it_breaks, uri, name)
                for name in (f"stream-{turn}-{number}" for number in range(WRITERS))
            } | {
                name: executor.submit(save_until_it_breaks, shared, name)
                for name in (f"saved-{turn}-{number}" for number in range(WRITERS))
            }
            # Not before there is something to lose, wherever that is in a commit.
            with EventStoreDBClient(uri) as client:
                subscription = client.subscribe_to_all(from_end=True)
                for _ in range(random.randint(20, 100)):
                    next(subscription)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            acknowledged |= {name: one.result() for name, one in running.items()}

    with EmbeddedServer(data=file) as server, EventStoreDBClient(server.uri) as client:
        for stream, expected in acknowledged.items():
            found = client.get_stream(stream) if expected else []
            kept = found[: len(expected)]
            assert [event.id for event in kept] == [one for one, _ in expected]
            assert [
                event.commit_position
                for event, (_, position) in zip(kept, expected, strict=True)
                if position >= 0
            ] == [position for _, position in expected if position >= 0]
            # One append may have been carried out whose answer was lost: all of it.
            assert len(found) - len(expected) in (0, 1, 3)
        positions = [event.commit_position for event in client.read_all()]
        assert positions == sorted(set(positions))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_keep_the_file(file: Path):
    reading, writing = os.pipe()
    database = Database(file)
    child = os.fork()
    if not child:
        os.read(reading, 1)
        os._exit(0)
    try:
        database.close()

        Database(file).close()
    finally:
        os.write(writing, b".")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_another_program_does_not_keep_the_file(file: Path):
    database = Database(file)
    program = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    )
    with program:
        database.close()

        Database(file).close()
        program.communicate(b"\n")


def test_a_lock_file_that_is_left_over_does_not_keep_the_file(file: Path):
    process, _ = start_process(file)
    process.kill()
    process.communicate()
    left_over = Path(f"{file}.lock").read_text()

    with EmbeddedServer(data=file):
        pass

    assert left_over == f"{process.pid}\n"


def test_repeating_an_append_by_revision_after_a_restart_writes_nothing(file: Path):
    events = [NewEvent("T", b"{}"), NewEvent("T", b"{}")]
    server = EmbeddedServer(data=file)
    with server, EventStoreDBClient(server.uri) as client:
        position = client.append_events(
            "dog", current_version=StreamState.NO_STREAM, events=events
        )

    with server, EventStoreDBClient(server.uri) as client:
        assert position == client.append_events(
            "dog", current_version=StreamState.NO_STREAM, events=events
        )
        assert len(client.get_stream("dog")) == 2


def test_metadata_and_deletions_survive_a_restart(file: Path):
    server = EmbeddedServer(data=file)
    with server, EventStoreDBClient(server.uri) as client:
        for name in ("limited", "deleted", "gone"):
            client.append_events(
                name,
                current_version=StreamState.NO_STREAM,
                events=[NewEvent("T", b"{}") for _ in range(3)],
            )
        client.set_stream_metadata("limited", metadata={"$maxCount": 1})
        client.delete_stream("deleted", current_version=2)
        client.tombstone_stream("gone", current_version=2)

    with server, EventStoreDBClient(server.uri) as client:
        assert [e.stream_position for e in client.get_stream("limited")] == [2]
        client.append_event("deleted", current_version=2, event=NewEvent("T", b"again"))
        assert [e.data for e in client.get_stream("deleted")] == [b"again"]
        with pytest.raises(StreamIsDeleted):
            client.get_stream("gone")


def test_persistent_subscriptions_resume_after_a_restart(file: Path):
    server = EmbeddedServer(data=file)
    with server, EventStoreDBClient(server.uri) as client:
        client.create_subscription_to_stream(
            "group", "dog", min_checkpoint_count=1, max_checkpoint_count=1
        )
        client.append_events(
            "dog",
            current_version=StreamState.NO_STREAM,
            events=[NewEvent("T", str(n).encode()) for n in range(4)],
        )
        with client.read_subscription_to_stream(
            "group", "dog", max_ack_batch_size=1
        ) as subscription:
            for event in subscription:
                subscription.ack(event)
                if event.data == b"1":
                    break
            checkpoints = client.subscribe_to_stream(
                "$persistentsubscription-dog::group-checkpoint"
            )
            while next(checkpoints).data != b'"1"':
                pass
            checkpoints.stop()

    with server, EventStoreDBClient(server.uri) as client:
        info = client.get_subscription_info("group", "dog")
        assert info.last_checkpointed_event_position == "1"
        with client.read_subscription_to_stream("group", "dog") as subscription:
            assert next(subscription).data == b"2"


def test_a_full_disk_refuses_appends_and_damages_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    server = EmbeddedServer(data=file)
    with server, EventStoreDBClient(server.uri) as client:
        client.append_events(
            "dog", current_version=StreamState.NO_STREAM, events=[NewEvent("T", b"{}")]
        )
        # As SQLite sees a disk without room for another page.
        connection = server._running.log._database.writer
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = NewEvent("T", b"x" * 500_000)
        for _ in range(2):
            # Twice: a refused append must not be taken for a repeated one.
            with pytest.raises(InternalError, match="disk is full"):
                client.append_events(
                    "dog", current_version=StreamState.ANY, events=[big]
                )
        connection.execute("PRAGMA max_page_count = 1000000")
        client.append_events("dog", current_version=StreamState.ANY, events=[big])
        assert len(client.get_stream("dog")) == 2

    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
