"""Requests of one call: all are taken in their order, by any thread."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.errors import InvalidArgumentError
from eventsourcing_eventstoredb.server.services import incoming, messages, private
from tests.support.client_library import shared_pb2, streams_pb2

METHOD = "/event_store.client.streams.Streams/BatchAppend"
BATCHES = 400


def batch(number: int, *, size: int = 1) -> bytes:
    proposed = streams_pb2.BatchAppendReq.ProposedMessage(
        id=shared_pb2.UUID(string=str(uuid.uuid4())),
        metadata={"type": "T", "content-type": "application/json"},
        data=bytes(size),
    )
    expected: Any = {"stream_position": number - 1}
    if not number:
        expected = {"no_stream": empty_pb2.Empty()}
    options = streams_pb2.BatchAppendReq.Options(
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"dog"), **expected
    )
    return bytes(
        streams_pb2.BatchAppendReq(
            correlation_id=shared_pb2.UUID(string=str(uuid.UUID(int=number))),
            options=options,
            proposed_messages=[proposed],
            is_final=True,
        ).SerializeToString()
    )


@pytest.fixture
def begin(server: EmbeddedServer) -> Iterator[Callable[[Iterator[bytes]], Any]]:
    with grpc.insecure_channel(server.target) as channel:
        yield channel.stream_stream(
            METHOD,
            request_serializer=None,
            response_deserializer=streams_pb2.BatchAppendResp.FromString,
        )


def revisions(call: Any) -> list[int]:
    return [answer.success.current_revision for answer in call]


@pytest.fixture(params=[True, False], ids=["by grpcio's thread", "by one of its own"])
def has_internals(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "HAS_INTERNALS", request.param)


@pytest.mark.usefixtures("has_internals")
@pytest.mark.parametrize(
    ("limit", "most"),
    [("MOST_REQUESTS", 3), ("MOST_BYTES", 2_000), ("MOST_BYTES", 1)],
)
def test_each_batch_is_answered_in_its_turn_though_few_are_taken_in(
    begin, limit, most, monkeypatch
):
    monkeypatch.setattr(incoming, limit, most)

    call = begin(batch(n, size=n) for n in range(BATCHES))

    assert revisions(call) == list(range(BATCHES))


@pytest.mark.usefixtures("has_internals")
def test_what_cannot_be_parsed_ends_the_call_after_all_before_it(begin):
    requests: SimpleQueue[bytes | None] = SimpleQueue()
    for number in range(BATCHES):
        requests.put(batch(number))
    requests.put(b"\xff")
    call = begin(iter(requests.get, None))

    assert revisions(islice(call, BATCHES)) == list(range(BATCHES))
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    requests.put(None)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "BatchAppendReq" in caught.value.details()


@pytest.mark.usefixtures("has_internals")
def test_calls_that_are_cancelled_midway_leave_nothing_behind(begin, server):
    def begin_and_cancel(number: int) -> None:
        call = begin(batch(n) for n in range(BATCHES))
        for _ in islice(call, number):
            pass
        call.cancel()

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(begin_and_cancel, range(0, 24, 2)))

    # Returns only when every call has ended.
    server.stop()
    assert not any(
        thread.name.startswith("esdb-server") for thread in threading.enumerate()
    )


@pytest.mark.usefixtures("has_internals")
def test_the_server_stops_while_batches_come(begin, server):
    number = iter(range(1_000_000))
    answered = threading.Event()

    def save() -> grpc.StatusCode:
        try:
            for _ in begin(batch(next(number)) for _ in iter(int, 1)):
                answered.set()
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(1) as executor:
        saving = executor.submit(save)
        assert answered.wait(20)
        server.stop()

        assert saving.result(timeout=60) in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        )


def test_requests_are_raised_as_errors_where_they_are_taken_one_by_one():
    error = InvalidArgumentError("wrong")
    checked = messages.CheckedRequests(iter(["one", error, "two"]))

    assert next(checked) == "one"
    with pytest.raises(InvalidArgumentError):
        next(checked)
    assert next(checked) == "two"
