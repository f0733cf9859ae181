from __future__ import annotations

import uuid
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, empty_pb2, timestamp_pb2

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.engine.appends import Appended
from eventsourcing_eventstoredb.server.exceptions import ServerError
from eventsourcing_eventstoredb.server.services import batches
from tests.support.client_library import (
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)

CORRELATION = shared_pb2.UUID(string=str(uuid.uuid4()))


@pytest.fixture
def stub(server: EmbeddedServer) -> Iterator[streams_pb2_grpc.StreamsStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield streams_pb2_grpc.StreamsStub(channel)


def event(**arguments: Any) -> streams_pb2.BatchAppendReq.ProposedMessage:
    arguments.setdefault("id", shared_pb2.UUID(string=str(uuid.uuid4())))
    arguments.setdefault("metadata", {"type": "T", "content-type": "application/json"})
    return streams_pb2.BatchAppendReq.ProposedMessage(**arguments)


def options(stream: str = "dog", seconds: int = 10, **deadline: Any) -> Any:
    if not deadline:
        deadline = {"deadline": duration_pb2.Duration(seconds=seconds)}
    return streams_pb2.BatchAppendReq.Options(
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=stream.encode()),
        any=empty_pb2.Empty(),
        **deadline,
    )


def request(*events: Any, is_final: bool = True, **arguments: Any) -> Any:
    return streams_pb2.BatchAppendReq(
        correlation_id=arguments.pop("correlation_id", CORRELATION),
        proposed_messages=events,
        is_final=is_final,
        **arguments,
    )


def test_a_batch_that_is_not_complete_in_time_is_answered_and_forgotten(stub):
    requests: SimpleQueue[Any] = SimpleQueue()
    requests.put(request(event(), options=options(), is_final=False))
    call = stub.BatchAppend(iter(requests.get, None), timeout=20)

    assert next(call).error.message == "Timeout"

    requests.put(request(event()))
    requests.put(request(event(), options=options()))
    assert next(call).success.current_revision == 0
    call.cancel()


@pytest.mark.parametrize(
    "late",
    [
        {"deadline": duration_pb2.Duration(seconds=0)},
        {"deadline": duration_pb2.Duration(seconds=-1)},
        {"deadline_21_10_0": timestamp_pb2.Timestamp(seconds=1)},
    ],
)
def test_a_batch_whose_deadline_has_passed_is_not_written(stub, late):
    (late_one, in_time) = stub.BatchAppend(
        iter(
            [
                request(event(), options=options(**late)),
                request(event(), options=options()),
            ]
        )
    )

    assert late_one.error.message == "Timeout"
    assert in_time.success.current_revision == 0


class Writer:
    """Takes events for written."""

    def append_all(self, appends: list[Any]) -> None:
        for append in appends:
            append.outcome = Appended(len(append.events) - 1, position=1)


def test_a_batch_in_one_request_is_written_however_slow_the_server_is(monkeypatch):
    monkeypatch.setattr(batches, "WRITE_TIMEOUT", 0)
    writer: Any = Writer()
    appends = batches.BatchAppends(
        writer, lambda stream: None, lambda function: None, 1000
    )

    ((answer,),) = appends.answers(iter([request(event(), options=options())]))

    assert answer.WhichOneof("result") == "success"


def test_a_batch_left_incomplete_is_answered_when_the_client_closes(stub):
    (answer,) = stub.BatchAppend(
        iter([request(event(), options=options(), is_final=False)])
    )

    assert answer.error.message == "Timeout"
    assert answer.stream_identifier.stream_name == b"dog"


def test_options_of_a_batch_that_has_some_are_passed_over(stub):
    (answer,) = stub.BatchAppend(
        iter(
            [
                request(event(), options=options("dog"), is_final=False),
                request(event(), options=options("cat")),
            ]
        )
    )

    assert answer.stream_identifier.stream_name == b"dog"
    assert answer.success.current_revision == 1


def test_requests_of_a_batch_without_options_are_passed_over(stub):
    other = shared_pb2.UUID(string=str(uuid.uuid4()))
    (answer,) = stub.BatchAppend(
        iter(
            [
                request(event(), correlation_id=other),
                request(event(), options=options()),
            ]
        )
    )

    assert answer.correlation_id == CORRELATION


def test_many_batches_in_one_call_are_answered_in_order(stub):
    ids = [shared_pb2.UUID(string=str(uuid.uuid4())) for _ in range(200)]
    answers = list(
        stub.BatchAppend(
            iter([request(event(), options=options(), correlation_id=i) for i in ids])
        )
    )

    assert [answer.correlation_id for answer in answers] == ids
    assert [answer.success.current_revision for answer in answers] == list(range(200))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            {"id": shared_pb2.UUID(string="abc")},
            "Guid should contain 32 digits with 4 dashes"
            " (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx).",
        ),
        (
            {"id": shared_pb2.UUID(string="0" * 32)},
            "Empty eventId provided. (Parameter 'eventId')",
        ),
        (
            {"metadata": {"type": "", "content-type": "x"}},
            "Empty eventType provided. (Parameter 'eventType')",
        ),
    ],
)
def test_an_event_that_is_none_is_a_bad_request(stub, bad, reason):
    (answer,) = stub.BatchAppend(iter([request(event(**bad), options=options())]))

    assert answer.error.message == "BadRequest"
    details = shared_pb2.BadRequest()
    assert answer.error.details.Unpack(details)
    assert details.message == reason


def heavy(**arguments: Any) -> Any:
    """An event with 64 KiB of metadata and no data, which alone count otherwise."""
    return event(custom_metadata=bytes(65536), **arguments)


def test_metadata_and_names_count_for_a_whole_append(stub):
    requests = [
        request(*[heavy() for _ in range(16)], is_final=False, options=options()),
        *(request(*[heavy() for _ in range(16)], is_final=False) for _ in range(20)),
    ]

    answer = next(stub.BatchAppend(iter(requests), timeout=20))

    assert answer.error.message == "MaximumAppendSizeExceeded"
    details = shared_pb2.MaximumAppendSizeExceeded()
    answer.error.details.Unpack(details)
    assert details.maxAppendSize == 16 * 1024 * 1024


def test_appends_that_are_not_complete_have_a_limit_together(stub):
    requests = (
        request(
            *[heavy() for _ in range(16)],
            is_final=False,
            options=options(stream=f"dog{number}"),
            correlation_id=shared_pb2.UUID(string=str(uuid.uuid4())),
        )
        for number in range(20)
    )

    answer = next(stub.BatchAppend(requests, timeout=20))

    assert answer.error.message == "MaximumAppendSizeExceeded"


def test_an_append_of_many_events_without_data_has_a_limit(stub):
    def requests() -> Iterator[Any]:
        yield streams_pb2.AppendReq(
            options=streams_pb2.AppendReq.Options(
                stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"dog"),
                any=shared_pb2.Empty(),
            )
        )
        message = streams_pb2.AppendReq.ProposedMessage(
            id=shared_pb2.UUID(string=str(uuid.uuid4())),
            metadata={"type": "T" * 65536, "content-type": "application/json"},
        )
        for _ in range(300):
            yield streams_pb2.AppendReq(proposed_message=message)

    with pytest.raises(grpc.RpcError) as raised:
        stub.Append(requests(), timeout=20)

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Maximum Append Size of 16777216 Exceeded" in raised.value.details()


def test_the_limit_of_an_append_is_what_it_was_told() -> None:
    with (
        EmbeddedServer(max_append_size=10) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = streams_pb2_grpc.StreamsStub(channel)
        fits, more = event(data=b"x" * 10), event(data=b"x" * 11)
        answers = [
            next(
                stub.BatchAppend(
                    iter(
                        [
                            streams_pb2.BatchAppendReq(
                                correlation_id=CORRELATION,
                                options=options(),
                                proposed_messages=[each],
                                is_final=True,
                            )
                        ]
                    )
                )
            )
            for each in (fits, more)
        ]
        single = streams_pb2.AppendReq.Options(
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"dog"),
            any=shared_pb2.Empty(),
        )
        proposed = streams_pb2.AppendReq.ProposedMessage(
            id=more.id, metadata=dict(more.metadata), data=more.data
        )
        with pytest.raises(grpc.RpcError, match="Maximum Append Size of 10 Exceeded"):
            stub.Append(
                iter(
                    [
                        streams_pb2.AppendReq(options=single),
                        streams_pb2.AppendReq(proposed_message=proposed),
                    ]
                )
            )

    assert answers[0].success.current_revision == 0
    exceeded = shared_pb2.MaximumAppendSizeExceeded()
    assert answers[1].error.details.Unpack(exceeded)
    assert exceeded.maxAppendSize == 10


def test_a_limit_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ServerError, match="An append of 0 bytes holds nothing"):
        EmbeddedServer(max_append_size=0)
