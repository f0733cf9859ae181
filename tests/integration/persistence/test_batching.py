"""Saves of all threads over one call, and what breaks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.deadlines import store_deadline
from eventsourcing_eventstoredb.protocol import batching, saving
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.batch_servers import (
    BatchServer,
    batch_server,
    conflict,
    stream_of,
    success,
)
from tests.support.certificates import make_certificate
from tests.support.patience import wait_until

Save = Callable[[str], "Future[Any]"]


@pytest.fixture
def server_of_batches() -> Iterator[BatchServer]:
    with batch_server() as server:
        yield server


@pytest.fixture
def recorder(
    server_of_batches: BatchServer,
) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(server_of_batches.uri))
    yield EventStoreDBApplicationRecorder(client, originator_id_type=str)
    client.close()


@pytest.fixture
def save(recorder: EventStoreDBApplicationRecorder) -> Iterator[Save]:
    """Saves to an existing stream in a thread; it is known that batches work."""
    insert(recorder, "first")
    with ThreadPoolExecutor(32) as executor:
        yield lambda name: executor.submit(insert, recorder, name)


def insert(
    recorder: EventStoreDBApplicationRecorder, name: str, data: bytes = b"{}"
) -> list[int]:
    return list(recorder.insert_events([StoredEvent(name, 5, "topic", data)]) or ())


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == batching.THREAD_NAME]


class Held:
    """Takes batches in, and answers them when it is told, in any order."""

    def __init__(self) -> None:
        self._said = threading.Condition()
        self._answers: list[Any] = []
        self.requests: dict[str, Any] = {}
        self._latest: Any = None

    def __call__(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        def take_in() -> None:
            # Which is how it ends when the call is broken off.
            with suppress(grpc.RpcError):
                for request in requests:
                    self.requests[stream_of(request)] = request

        self._latest = context
        thread = threading.Thread(target=take_in)
        thread.start()
        while context.is_active():
            with self._said:
                self._said.wait(0.01)
                answers = []
                # A call that was broken off may not have ended yet.
                if self._latest is context:
                    answers, self._answers = self._answers, []
            yield from answers
        thread.join()

    def say(self, *answers: Any) -> None:
        with self._said:
            self._answers += answers
            self._said.notify()


@pytest.fixture
def held(server_of_batches: BatchServer, save: Save) -> Held:
    """From now on the server answers when the test says so, over another call."""
    held = Held()
    server_of_batches.answers = held
    return held


def break_call(recorder: EventStoreDBApplicationRecorder) -> None:
    connection = recorder.client.connector.connection()  # type: ignore[attr-defined]
    call = connection.long_call
    call.close()
    wait_until(lambda: not threads())


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    wait_until(lambda: not threads())


def test_all_threads_save_over_one_call(
    server_of_batches: BatchServer, save: Save
) -> None:
    saves = [save(f"stream-{number}") for number in range(100)]

    assert [each.result() for each in saves] == [[1]] * 100
    (call,) = server_of_batches.batches
    assert len(call) == 101
    assert len({each.correlation_id.string for each in call}) == 101
    assert len(threads()) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), refused=st.sets(st.integers(0, 5)))
def test_each_save_gets_its_own_answer_in_whatever_order_they_come(
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    held: Held,
    order: list[int],
    refused: set[int],
) -> None:
    break_call(recorder)
    held.requests.clear()
    saves = [save(f"stream-{number}") for number in range(6)]
    wait_until(lambda: len(held.requests) == 6)
    for number in order:
        request = held.requests[f"stream-{number}"]
        held.say(
            conflict(request, 40 + number)
            if number in refused
            else success(request, 100 + number)
        )

    for number, each in enumerate(saves):
        if number in refused:
            with pytest.raises(IntegrityError, match=f"last event is {40 + number}"):
                each.result()
        else:
            assert each.result() == [100 + number]


def test_a_save_that_is_slow_or_too_late_holds_up_no_other(
    recorder: EventStoreDBApplicationRecorder, save: Save, held: Held
) -> None:
    break_call(recorder)
    slow = save("slow")
    wait_until(lambda: "slow" in held.requests)

    def too_late() -> None:
        with store_deadline(0.05):
            insert(recorder, "late")

    with pytest.raises(OperationalError, match=r"no answer in time: 0\.\d s are"):
        too_late()
    quick = save("quick")
    wait_until(lambda: "quick" in held.requests)
    held.say(success(held.requests["quick"], 2))

    assert quick.result() == [2]
    assert not slow.done()
    held.say(success(held.requests["late"], 3), success(held.requests["slow"], 4))
    assert slow.result() == [4]


def test_what_is_in_doubt_when_a_call_breaks_is_repeated_with_the_same_ids(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    held: Held,
) -> None:
    break_call(recorder)
    saves = [save(f"stream-{number}") for number in range(5)]
    wait_until(lambda: len(held.requests) == 5)
    server_of_batches.answers = lambda requests, context: map(success, requests)
    break_call(recorder)

    assert [each.result() for each in saves] == [[1]] * 5
    before, after = server_of_batches.batches[-2:]
    assert ids(before) == ids(after)


def ids(call: list[Any]) -> dict[str, list[str]]:
    return {
        stream_of(each): [message.id.string for message in each.proposed_messages]
        for each in call
    }


def test_what_breaks_a_call_for_good_concerns_its_own_save_alone(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
) -> None:
    """As a proxy does that has a limit of its own."""
    break_call(recorder)
    came = threading.Event()

    def refuse_the_bad(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            if stream_of(request) == "bad":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
            if stream_of(request) != "good" or came.is_set():
                yield success(request)
            came.set()

    server_of_batches.answers = refuse_the_bad
    good = save("good")
    came.wait()
    bad = save("bad")

    assert good.result() == [1]
    with pytest.raises(DataError, match="too large"):
        bad.result()


def test_what_is_large_has_a_call_of_its_own(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
) -> None:
    assert insert(recorder, "large", b"x" * saving.LARGE_BYTES) == [1]

    assert [len(call) for call in server_of_batches.batches] == [1, 1]


def test_no_more_than_a_limit_is_under_way(
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_call(recorder)
    monkeypatch.setattr(batching, "MOST_BATCHES", 2)
    first, second = save("first"), save("second")
    wait_until(lambda: len(held.requests) == 2)

    with (
        store_deadline(0.1),
        pytest.raises(OperationalError, match="2 others were under way"),
    ):
        insert(recorder, "third")
    fourth = save("fourth")
    held.say(success(held.requests["first"]))
    assert first.result() == [1]
    wait_until(lambda: "fourth" in held.requests)
    assert "third" not in held.requests
    held.say(*map(success, (held.requests["second"], held.requests["fourth"])))
    assert (second.result(), fourth.result()) == ([1], [1])


def test_no_more_bytes_than_a_limit_are_under_way(
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_call(recorder)
    # One is let through whatever its size.
    monkeypatch.setattr(batching, "MOST_BYTES", 10)
    first, second = save("first"), save("second")
    wait_until(lambda: len(held.requests) == 1)
    (name,) = held.requests
    held.say(success(held.requests[name]))
    wait_until(lambda: len(held.requests) == 2)
    held.say(*map(success, held.requests.values()))

    assert (first.result(), second.result()) == ([1], [1])


def test_a_call_in_which_nothing_is_answered_gets_no_more_saves(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "SILENT_SECONDS", 0.01)
    break_call(recorder)
    waiting = save("waiting")
    wait_until(lambda: "waiting" in held.requests)
    with store_deadline(0.1), pytest.raises(OperationalError):
        insert(recorder, "late")
    server_of_batches.answers = lambda requests, context: map(success, requests)

    assert insert(recorder, "next") == [1]
    assert [len(call) for call in server_of_batches.batches] == [1, 2, 1]
    # Who waits for an answer of that call may still get it.
    held.say(success(held.requests["waiting"], 5))
    assert waiting.result() == [5]
    wait_until(lambda: len(threads()) == 1)


def test_a_call_that_is_not_used_is_ended_and_opened_again(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "IDLE_SECONDS", 0.05)
    break_call(recorder)
    insert(recorder, "one")
    wait_until(lambda: not threads())

    assert insert(recorder, "two") == [1]
    assert [len(call) for call in server_of_batches.batches] == [1, 1, 1]


def test_a_server_without_batches_is_found_out_once(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unknown(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        yield

    server_of_batches.answers = unknown

    assert insert(recorder, "one") == [7]
    # More than one, where a call ends before a batch was handed to it.
    calls = len(server_of_batches.batches)
    assert insert(recorder, "two") == [7]

    assert server_of_batches.alone == ["one", "two"]
    assert len(server_of_batches.batches) == calls
    assert "BatchAppend does not work: server=127.0.0.1:" in caplog.text
    assert "reason=unknown method" in caplog.text


def test_a_proxy_that_holds_back_the_answers_of_open_calls_is_found_out_once(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saving, "FIRST_BATCH_SECONDS", 0.1)
    monkeypatch.setattr(saving, "PROOF_SECONDS", 0.1)
    server_of_batches.answers = lambda requests, context: map(success, list(requests))

    assert [insert(recorder, "one"), insert(recorder, "two")] == [[7], [7]]
    assert server_of_batches.alone == ["one", "two"]
    assert server_of_batches.streams == ["one"]


def test_a_server_that_is_slow_at_first_is_not_taken_for_one_without_batches(
    server_of_batches: BatchServer,
    recorder: EventStoreDBApplicationRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saving, "FIRST_BATCH_SECONDS", 0.1)
    is_appended = threading.Event()

    def slow(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            is_appended.wait()
            yield success(request)

    server_of_batches.answers = slow
    server_of_batches.appends = lambda context: is_appended.set()

    assert [insert(recorder, "one"), insert(recorder, "two")] == [[7], [1]]
    assert server_of_batches.alone == ["one"]


def test_what_is_refused_without_batches_says_the_same(
    server_of_batches: BatchServer, recorder: EventStoreDBApplicationRecorder
) -> None:
    recorder.client.connector.takes_batches = False  # type: ignore[attr-defined]

    def refuse(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("exception", "maximum-append-size-exceeded"),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Maximum exceeded.")

    server_of_batches.appends = refuse
    with pytest.raises(DataError, match="Maximum exceeded"):
        insert(recorder, "one")


def test_saves_without_batches_behave_as_with_them(server: EmbeddedServer) -> None:
    client = Client(parse_connection(server.uri))
    client.connector.takes_batches = False
    recorder = EventStoreDBApplicationRecorder(client)
    name = uuid4()

    def events(first: int, count: int) -> list[StoredEvent]:
        return [StoredEvent(name, first + n, "t", b"{}") for n in range(count)]

    positions = recorder.insert_events(events(0, 3))
    with pytest.raises(IntegrityError, match="last event is 2"):
        recorder.insert_events(events(0, 1))
    with pytest.raises(IntegrityError, match="does not exist"):
        recorder.insert_events([StoredEvent(uuid4(), 4, "t", b"{}")])
    with pytest.raises(DataError, match="more than the server takes"):
        # More than any server takes.
        recorder.insert_events([StoredEvent(name, 3, "t", b"x" * 17_000_000)])
    client.tombstone_stream(recorder.layout.stream_name(name), current_version=2)
    with pytest.raises(IntegrityError, match="tombstoned"):
        recorder.insert_events(events(3, 1))

    assert positions
    assert len(set(positions)) == 1
    client.close()


def test_clients_with_other_credentials_have_calls_of_their_own(
    tmp_path: Path,
) -> None:
    certificate = make_certificate(tmp_path, "node")
    with EmbeddedServer(
        tls_cert=certificate.file,
        tls_key=certificate.key_file,
        users={"admin": "secret"},
        readers={"reader": "word"},
    ) as server:
        clients = [
            Client(
                parse_connection(
                    server.uri,
                    username=name,
                    password=password,
                    root_certificates=certificate.text,
                )
            )
            for name, password in (
                ("admin", "secret"),
                ("reader", "word"),
                ("reader", "wrong"),
            )
        ]
        admin, reader, stranger = map(EventStoreDBApplicationRecorder, clients)

        assert insert_new(admin)
        assert insert_new(reader)
        with pytest.raises(ProgrammingError, match="does not know this user"):
            insert_new(stranger)
        assert len(threads()) == 2
        assert insert_new(reader)
        for client in clients:
            client.close()


def insert_new(recorder: EventStoreDBApplicationRecorder) -> bool:
    return bool(recorder.insert_events([StoredEvent(uuid4(), 0, "t", b"{}")]))
