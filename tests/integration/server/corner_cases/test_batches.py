"""
Rules for batches that show only in combinations, compared with EventStoreDB 23.10's own
code.
"""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf import empty_pb2

from tests.support.client_library import (
    StreamState,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)


def proposed(
    event_id: shared_pb2.UUID | None, type_name: str = "T"
) -> streams_pb2.BatchAppendReq.ProposedMessage:
    return streams_pb2.BatchAppendReq.ProposedMessage(
        id=event_id,
        metadata={"type": type_name, "content-type": "application/json"},
    )


def batch(
    *messages: streams_pb2.BatchAppendReq.ProposedMessage,
    correlation_id: shared_pb2.UUID | None,
    seconds: int = 10,
    is_final: bool = True,
) -> streams_pb2.BatchAppendReq:
    options = streams_pb2.BatchAppendReq.Options(any=empty_pb2.Empty())
    options.stream_identifier.stream_name = b"dog"
    options.deadline.seconds = seconds
    return streams_pb2.BatchAppendReq(
        correlation_id=correlation_id,
        options=options,
        proposed_messages=messages,
        is_final=is_final,
    )


def new_id() -> shared_pb2.UUID:
    return shared_pb2.UUID(string=str(uuid.uuid4()))


def reason(answer: streams_pb2.BatchAppendResp) -> str:
    details = shared_pb2.BadRequest()
    assert answer.error.details.Unpack(details)
    return str(details.message)


INVALID_LENGTH = (
    "Guid should contain 32 digits with 4 dashes"
    " (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)."
)

INVALID_CHARACTER = "Guid string should only contain hexadecimal characters."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (proposed(None), "Value cannot be null. (Parameter 'dto')"),
        (proposed(shared_pb2.UUID()), "Invalid argument: None (Parameter 'dto')"),
        (proposed(shared_pb2.UUID(string=" ")), "Unrecognized Guid format."),
        (proposed(shared_pb2.UUID(string="no-uuid")), INVALID_LENGTH),
        (proposed(shared_pb2.UUID(string="abc")), INVALID_LENGTH),
        (proposed(shared_pb2.UUID(string="x" * 32)), INVALID_CHARACTER),
        (
            proposed(shared_pb2.UUID(string="-" + "0" * 35)),
            "Dashes are in the wrong position for GUID parsing.",
        ),
        (
            proposed(shared_pb2.UUID(string="0" * 32)),
            "Empty eventId provided. (Parameter 'eventId')",
        ),
        (proposed(new_id(), ""), "Empty eventType provided. (Parameter 'eventType')"),
    ],
)
def test_a_bad_event_is_named_in_the_words_of_the_real_server(
    channel, message, expected
):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(message, correlation_id=new_id())

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == expected


def test_a_batch_without_a_correlation_id_is_a_bad_request(client, channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(new_id()), correlation_id=None)

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == "Value cannot be null. (Parameter 'dto')"
    assert client.get_current_version("dog") is StreamState.NO_STREAM


def test_a_batch_without_a_name_is_refused_before_its_deadline_is_looked_at(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(None), correlation_id=new_id(), seconds=0)
    request.options.stream_identifier.stream_name = b""

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert reason(answer) == "Value cannot be null. (Parameter 'value')"


def test_a_passed_deadline_comes_before_a_bad_event(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    request = batch(proposed(None), correlation_id=new_id(), seconds=0)

    (answer,) = stub.BatchAppend(iter([request]), timeout=10)

    assert answer.error.message == "Timeout"


def test_both_forms_of_a_correlation_id_name_the_same_batch(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    value = uuid.uuid4()
    structured = shared_pb2.UUID()
    structured.structured.most_significant_bits = int.from_bytes(
        value.bytes[:8], "big", signed=True
    )
    structured.structured.least_significant_bits = int.from_bytes(
        value.bytes[8:], "big", signed=True
    )
    first = batch(
        proposed(new_id()),
        correlation_id=shared_pb2.UUID(string=str(value)),
        is_final=False,
    )
    last = streams_pb2.BatchAppendReq(
        correlation_id=structured, proposed_messages=[proposed(new_id())], is_final=True
    )

    (answer,) = stub.BatchAppend(iter([first, last]), timeout=10)

    assert answer.success.current_revision == 1


def test_a_bad_event_after_the_options_ends_the_call(channel):
    stub = streams_pb2_grpc.StreamsStub(channel)
    correlation_id = new_id()
    first = batch(proposed(new_id()), correlation_id=correlation_id, is_final=False)
    last = streams_pb2.BatchAppendReq(
        correlation_id=correlation_id, proposed_messages=[proposed(None)], is_final=True
    )

    with pytest.raises(grpc.RpcError) as raised:
        list(stub.BatchAppend(iter([first, last]), timeout=10))

    assert raised.value.details() == "Exception was thrown by handler."
