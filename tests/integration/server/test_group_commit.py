"""What waits to be appended shares a commit, and has an outcome of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.engine.appends import Append, Appended, Writer
from eventsourcing_eventstoredb.server.errors import (
    StorageError,
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.storage.group_commit import GroupCommit, Work
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import ANY, NO_STREAM, NewEvent
from tests.support.client_library import shared_pb2, streams_pb2, streams_pb2_grpc


class CountingLog(Log):
    """Counts its transactions."""

    transactions = 0

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.transactions += 1
        with super().transaction() as transaction:
            yield transaction


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CountingLog]:
    log = CountingLog(tmp_path / "events.db")
    yield log
    log.close()


def new_event(name: int | None = None) -> NewEvent:
    identity = uuid.uuid4().bytes if name is None else uuid.UUID(int=name + 1).bytes
    return NewEvent(identity, "T", True, b"{}")


def append(stream: str, expected: int, *events: NewEvent) -> Append:
    return Append(stream, expected, list(events or (new_event(),)))


def test_appends_share_a_commit_and_each_has_its_outcome(log: CountingLog) -> None:
    writer = Writer(log)
    writer.append("gone", NO_STREAM, [new_event()])
    writer.tombstone("gone", 0)
    log.transactions = 0
    appends = [
        append("dog", NO_STREAM),
        append("dog", NO_STREAM),
        append("dog", 0),
        append("cat", 7),
        append("gone", 0),
        append("cat", NO_STREAM, new_event(), new_event()),
    ]

    writer.append_all(appends)

    assert log.transactions == 1
    assert [type(each.outcome) for each in appends] == [
        Appended,
        WrongExpectedVersionError,
        Appended,
        WrongExpectedVersionError,
        StreamDeletedError,
        Appended,
    ]
    assert [each.outcome.last_number for each in appends[::5]] == [0, 1]
    positions = [record.position for record in log.forwards(0, 99)][-4:]
    assert [appends[n].outcome.position for n in (0, 2, 5)] == [
        *positions[:2],
        positions[3],
    ]


def test_an_event_that_is_sent_twice_is_written_once_in_one_group(
    log: CountingLog,
) -> None:
    writer = Writer(log)
    event = new_event()
    appends = [append("dog", ANY, event), append("dog", ANY, event)]

    writer.append_all(appends)

    first, second = appends
    assert first.outcome == second.outcome == Appended(0, first.outcome.position)
    assert len(log.forwards(0, 99)) == 1


def test_one_that_the_disk_does_not_take_drags_no_other_along(
    log: CountingLog,
) -> None:
    writer = Writer(log)
    connection = log._database.writer
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = NewEvent(uuid.uuid4().bytes, "T", True, b"x" * 500_000)
    appends = [append("dog", NO_STREAM), append("cat", NO_STREAM, large)]

    writer.append_all(appends)

    assert appends[0].outcome == Appended(0, appends[0].outcome.position)
    assert isinstance(appends[1].outcome, StorageError)
    assert [record.stream for record in log.forwards(0, 99)] == ["dog"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(-4, 3).filter(lambda expected: expected != -3),
            st.lists(st.integers(0, 5), min_size=1, max_size=3),
        ),
        max_size=8,
    )
)
def test_a_group_ends_as_its_appends_would_one_by_one(
    drawn: list[tuple[str, int, list[int]]],
) -> None:
    def outcomes(together: bool) -> tuple[list[Any], list[Any]]:
        log = Log()
        writer = Writer(log)
        appends = [
            append(stream, expected, *map(new_event, names))
            for stream, expected, names in drawn
        ]
        for group in [appends] if together else [[each] for each in appends]:
            writer.append_all(group)
        written = [(each.stream, each.number, each.id) for each in log.forwards(0, 99)]
        log.close()
        return [repr(each.outcome) for each in appends], written

    assert outcomes(together=True) == outcomes(together=False)


def test_works_of_all_threads_are_done_in_groups_in_their_order() -> None:
    groups: list[list[Work]] = []
    is_writing, go_on = threading.Event(), threading.Event()

    def write(group: Any) -> None:
        groups.append(list(group))
        is_writing.set()
        go_on.wait()

    commit: GroupCommit[Work] = GroupCommit(write)
    with ThreadPoolExecutor() as executor:
        first = executor.submit(commit.run, [Work()])
        is_writing.wait()
        works = [[Work(), Work()] for _ in range(3)]
        others = []
        for each in works:
            others.append(executor.submit(commit.run, each))
            while each[-1] not in commit._waiting:
                pass
        assert not any(work.is_done for each in works for work in each)
        go_on.set()
        for future in (first, *others):
            future.result()

    assert [len(group) for group in groups] == [1, 6]
    assert groups[1] == [work for each in works for work in each]


def test_batches_of_a_call_that_have_come_meanwhile_share_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventsourcing_eventstoredb.server.embedded.Log", CountingLog)
    with (
        EmbeddedServer(data=tmp_path / "events.db") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = streams_pb2_grpc.StreamsStub(channel)
        requests: SimpleQueue[Any] = SimpleQueue()
        call = stub.BatchAppend(iter(requests.get, None))
        log = server._running.log  # type: ignore[union-attr]
        for number in range(3):
            requests.put(batch(number))
            assert next(call).success.current_revision == 0
        before = log.transactions
        # The batches come while none can be written.
        with log._write_lock:
            for number in range(3, 103):
                requests.put(batch(number))
            while not requests.empty():
                pass
        answers = [next(call) for _ in range(100)]
        requests.put(None)

    assert [each.correlation_id.string for each in answers] == [
        str(uuid.UUID(int=number)) for number in range(3, 103)
    ]
    # The first of them may have been alone.
    assert log.transactions - before <= 5


def batch(number: int) -> Any:
    return streams_pb2.BatchAppendReq(
        correlation_id=shared_pb2.UUID(string=str(uuid.UUID(int=number))),
        options=streams_pb2.BatchAppendReq.Options(
            stream_identifier=shared_pb2.StreamIdentifier(
                stream_name=f"dog-{number}".encode()
            ),
            no_stream=empty_pb2.Empty(),
        ),
        proposed_messages=[
            streams_pb2.BatchAppendReq.ProposedMessage(
                id=shared_pb2.UUID(string=str(uuid.uuid4())),
                metadata={"type": "T", "content-type": "application/json"},
            )
        ],
        is_final=True,
    )


def test_a_server_that_stops_ends_calls_that_are_open(tmp_path: Path) -> None:
    server = EmbeddedServer(data=tmp_path / "events.db").start()
    with grpc.insecure_channel(server.target) as channel:
        requests: SimpleQueue[Any] = SimpleQueue()
        call = streams_pb2_grpc.StreamsStub(channel).BatchAppend(
            iter(requests.get, None)
        )
        for number in range(4):
            requests.put(batch(number))
            next(call)
        server.stop()

        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        requests.put(None)

    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
