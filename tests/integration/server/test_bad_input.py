from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamIsDeleted,
    StreamState,
    persistent_pb2,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)

STREAMS = "/event_store.client.streams.Streams/"
PERSISTENT = "/event_store.client.persistent_subscriptions.PersistentSubscriptions/"

CALLS: list[tuple[str, type[Message], str]] = [
    (f"{STREAMS}Read", streams_pb2.ReadReq, "unary_stream"),
    (f"{STREAMS}Append", streams_pb2.AppendReq, "stream_unary"),
    (f"{STREAMS}BatchAppend", streams_pb2.BatchAppendReq, "stream_stream"),
    (f"{STREAMS}Delete", streams_pb2.DeleteReq, "unary_unary"),
    (f"{STREAMS}Tombstone", streams_pb2.TombstoneReq, "unary_unary"),
    (f"{PERSISTENT}Create", persistent_pb2.CreateReq, "unary_unary"),
    (f"{PERSISTENT}Update", persistent_pb2.UpdateReq, "unary_unary"),
    (f"{PERSISTENT}Delete", persistent_pb2.DeleteReq, "unary_unary"),
    (f"{PERSISTENT}GetInfo", persistent_pb2.GetInfoReq, "unary_unary"),
    (f"{PERSISTENT}List", persistent_pb2.ListReq, "unary_unary"),
    (f"{PERSISTENT}ReplayParked", persistent_pb2.ReplayParkedReq, "unary_unary"),
    (f"{PERSISTENT}Read", persistent_pb2.ReadReq, "stream_stream"),
    ("/event_store.client.gossip.Gossip/Read", shared_pb2.Empty, "unary_unary"),
]

# What an error may be: the real server's answers, or a refusal.
EXPECTED_CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # Settings of a group that make no sense; bytes that are no message.
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

NAMES = ["dog", "$all", "$$dog", "", "größe", "a\nb", "x" * 300]
PATTERNS = ["^Dog", "(", "^(?!(\\$.+$))", "(a+)+$", "[z-a]", "\\p{Lu}", "(?<n>x)\\k<n>"]


def messages(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[dict]:
    """Fields of a message, each of them missing, ordinary, wrong or huge."""
    fields = {}
    for field in descriptor.fields:
        if depth > 4:
            break
        value = values(field, depth)
        if is_repeated(field) and not is_map(field):
            value = st.lists(value, max_size=3)
        fields[field.name] = value
    return st.fixed_dictionaries({}, optional=fields)


def is_repeated(field: FieldDescriptor) -> bool:
    # The older way is gone in protobuf 7, and the newer one is not there before 6.
    newer: bool | None = getattr(field, "is_repeated", None)
    if newer is not None:
        return newer
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def is_map(field: FieldDescriptor) -> bool:
    message = field.message_type
    return message is not None and message.GetOptions().map_entry


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        return st.dictionaries(
            st.sampled_from(["type", "content-type", "x"]),
            st.sampled_from(["", "application/json", "T"]),
        )
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    if field.enum_type is not None:
        return st.sampled_from([0, 1, 2, 99])
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.one_of(st.sampled_from(NAMES + PATTERNS), st.text(max_size=10))
    if field.type == FieldDescriptor.TYPE_BYTES:
        names = st.sampled_from(NAMES).map(str.encode)
        return st.one_of(names, st.binary(max_size=20))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return integers(field)


def integers(field: FieldDescriptor) -> st.SearchStrategy[int]:
    unsigned = field.type in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_UINT32)
    bits = 64 if field.type in _LONG else 32
    lowest = 0 if unsigned else -(2 ** (bits - 1))
    highest = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
    edges = [lowest, 0, 1, 2, 10, highest - 1, highest]
    return st.one_of(st.sampled_from(edges), st.integers(lowest, highest))


_LONG = (
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_FIXED64,
)


def fill(message: Message, fields: dict[str, Any]) -> Message:
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if is_map(field):
            getattr(message, name).update(value)
        elif is_repeated(field):
            for one in value:
                if isinstance(one, dict):
                    fill(getattr(message, name).add(), one)
                else:
                    getattr(message, name).append(one)
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[EmbeddedServer, grpc.Channel]]:
    with (
        EmbeddedServer() as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield server, channel


def call(channel: grpc.Channel, path: str, kind: str, requests: list[bytes]) -> None:
    """Make a call; accept any answer that the real server could give."""
    method = getattr(channel, kind)(path)
    argument = iter(requests) if kind.startswith("stream") else requests[0]
    code, details = grpc.StatusCode.OK, ""
    try:
        answer = method(argument, timeout=0.3)
        if kind.endswith("stream"):
            for _, _ in zip(range(20), answer, strict=False):
                pass
            answer.cancel()
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
    assert code in EXPECTED_CODES, (code, details)


def still_works(server: EmbeddedServer) -> None:
    with EventStoreDBClient(server.uri) as client:
        event = NewEvent("Alive", b"{}")
        client.append_events(
            "alive", current_version=StreamState.ANY, events=[event], timeout=10
        )
        (last,) = client.get_stream("alive", backwards=True, limit=1, timeout=10)
        assert last.id == event.id


# Which only tests get that are decorated by it themselves.
@pytest.mark.hypothesis
@pytest.mark.parametrize(("path", "message_class", "kind"), CALLS)
def test_any_message_gets_an_answer(
    path: str,
    message_class: type[Message],
    kind: str,
    fuzzed: tuple[EmbeddedServer, grpc.Channel],
    caplog: pytest.LogCaptureFixture,
):
    server, channel = fuzzed

    @settings(
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(messages(message_class.DESCRIPTOR), min_size=1, max_size=3))
    def fuzz(fields: list[dict[str, Any]]) -> None:
        requests = [fill(message_class(), one).SerializeToString() for one in fields]
        call(channel, path, kind, requests)

    fuzz()
    still_works(server)
    # Whatever a client sends must have been foreseen.
    assert [r for r in caplog.records if "unexpectedly" in r.message] == []


@pytest.mark.parametrize(("path", "message_class", "kind"), CALLS)
def test_bytes_that_are_no_message_are_refused(
    path: str,
    message_class: type[Message],
    kind: str,
    fuzzed: tuple[EmbeddedServer, grpc.Channel],
):
    server, channel = fuzzed

    for body in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x00" * 50, b"\x0a\x05ab"):
        call(channel, path, kind, [body])

    still_works(server)


def filtered_read(pattern: str) -> streams_pb2.ReadReq:
    options = streams_pb2.ReadReq.Options
    return streams_pb2.ReadReq(
        options=options(
            all=options.AllOptions(start=shared_pb2.Empty()),
            count=10,
            filter=options.FilterOptions(
                stream_identifier=options.FilterOptions.Expression(regex=pattern),
                max=32,
                checkpointIntervalMultiplier=1,
            ),
            uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
        )
    )


def test_a_pattern_that_never_ends_ends_only_its_own_call(
    server: EmbeddedServer, client: EventStoreDBClient
):
    client.append_events(
        "a" * 60 + "!", current_version=StreamState.ANY, events=[NewEvent("T", b"{}")]
    )
    with grpc.insecure_channel(server.target) as channel, ThreadPoolExecutor() as pool:
        stub = streams_pb2_grpc.StreamsStub(channel)
        reading = [
            pool.submit(list, stub.Read(filtered_read("^((a|a)+)+[^a]b$")))
            for _ in range(4)
        ]
        for _ in range(20):
            still_works(server)
        for one in reading:
            with pytest.raises(grpc.RpcError) as error:
                one.result(timeout=60)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "takes longer than" in error.value.details()


def test_a_stream_name_that_is_no_utf8_is_repaired(server: EmbeddedServer):
    with grpc.insecure_channel(server.target) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        options = streams_pb2.AppendReq.Options(
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"dog-\xff"),
            any=shared_pb2.Empty(),
        )
        event = streams_pb2.AppendReq.ProposedMessage(
            id=shared_pb2.UUID(string="5b7d4a3e-6e0b-4b51-8bfb-1c2d3e4f5a6b"),
            metadata={"type": "T", "content-type": "application/json"},
        )
        stub.Append(
            iter(
                [
                    streams_pb2.AppendReq(options=options),
                    streams_pb2.AppendReq(proposed_message=event),
                ]
            )
        )
    with EventStoreDBClient(server.uri) as client:
        assert len(client.get_stream("dog-\N{REPLACEMENT CHARACTER}")) == 1


@pytest.mark.parametrize("name", ["größe", "a\nb\x00c", "50%", " x "])
def test_any_stream_name_can_be_in_an_error(client: EventStoreDBClient, name: str):
    client.tombstone_stream(name, current_version=StreamState.ANY)

    with pytest.raises(StreamIsDeleted):
        client.get_stream(name, timeout=10)


def test_a_message_over_the_limit_is_refused(
    server: EmbeddedServer, client: EventStoreDBClient
):
    with grpc.insecure_channel(server.target) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"{STREAMS}Delete")(b"\x0a" * 17_000_000)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    still_works(server)
