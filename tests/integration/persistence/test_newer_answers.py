"""Answers of servers of every age, in every order, told by a scripted server."""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import grpc
import pytest
from eventsourcing.persistence import OperationalError, ProgrammingError
from google.protobuf import any_pb2, json_format
from hypothesis import example, given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.exceptions import UnknownPositionError
from eventsourcing_eventstoredb.protocol import calls, messages
from eventsourcing_eventstoredb.protocol.clients import Client, connector_of
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.subscriptions import lagging
from eventsourcing_eventstoredb.subscriptions.state import Phase
from tests.support.client_library import (
    shared_pb2,
    status_pb2,
    streams_pb2,
)
from tests.support.nodes import Node, Refused, node

CONFORMANCE = Path(__file__).parents[2] / "conformance"
NEWER = sorted((CONFORMANCE / "golden-26.1").glob("*.json"))
Resp = streams_pb2.ReadResp

# The fields by which newer servers tell when and where, as a wire has them: 15 and 16
# as numbers. The client does not know them.
UNKNOWN_FIELDS = b"\x78\x2a\x80\x01\x2a"
# A message of a kind that is not known, of number 30.
UNKNOWN_MESSAGE = b"\xf2\x01\x02\x08\x01"
CONFIRMATION = Resp(confirmation=Resp.SubscriptionConfirmation(subscription_id="s"))


def event(position: int, topic: str = "Named") -> bytes:
    recorded = Resp.ReadEvent.RecordedEvent(
        id=shared_pb2.UUID(string=str(uuid5(NAMESPACE_OID, str(position)))),
        stream_identifier=shared_pb2.StreamIdentifier(
            stream_name=str(NAMESPACE_OID).encode()
        ),
        stream_revision=position,
        commit_position=position,
        prepare_position=position,
        metadata={"type": topic, "content-type": "application/json", "created": "1"},
        data=b"{}",
    )
    answer = Resp(event=Resp.ReadEvent(event=recorded, commit_position=position))
    return bytes(answer.SerializeToString())


def sign(field: int, content: bytes = b"") -> bytes:
    """A message of ReadResp: 3 is a checkpoint, 8 caughtUp, 9 fellBehind."""
    return bytes([field << 3 | 2, len(content)]) + content


def checkpoint(position: int) -> bytes:
    return bytes(
        Resp(
            checkpoint=Resp.Checkpoint(
                commit_position=position, prepare_position=position
            )
        ).SerializeToString()
    )


CAUGHT_UP = sign(8)
CAUGHT_UP_AT = sign(8, UNKNOWN_FIELDS)
FELL_BEHIND = sign(9)
FELL_BEHIND_AT = sign(9, UNKNOWN_FIELDS)


class Script:
    """
    Answers reads: the head as it is said, subscriptions with what comes next.

    Attributes:
        head: The position of the last event.
        positions: Of the events that are read; None for the head alone.
        refusal: What a read is answered that begins anywhere else before the head.
        subscriptions: What each subscription gets; the last one stays open.
        begun_after: The positions that subscriptions were asked to begin after.
    """

    def __init__(self, this: Node) -> None:
        self.head = 1_000_000
        self.positions: list[int] | None = None
        self.refusal = Refused(grpc.StatusCode.UNKNOWN, "")
        self.subscriptions: list[Iterable[bytes | Refused]] = []
        self.begun_after: list[int] = []
        this.read = self.answer

    def answer(self, body: bytes) -> Iterator[bytes]:
        request = streams_pb2.ReadReq.FromString(body).options
        begin = request.all.position.commit_position
        if request.WhichOneof("count_option") != "subscription":
            if request.read_direction == request.Backwards:
                yield event(self.head)
            elif self.positions is not None:
                if begin < self.head and begin not in self.positions:
                    raise self.refusal
                yield from (event(each) for each in self.positions if each >= begin)
            return
        self.begun_after.append(begin)
        for message in self.subscriptions.pop(0):
            if isinstance(message, Refused):
                raise message
            yield message


@pytest.fixture(scope="module")
def this() -> Iterator[Node]:
    with node() as this:
        yield this


@contextmanager
def recorder(this: Node) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(f"esdb://{this.address}?Tls=false"))
    try:
        yield EventStoreDBApplicationRecorder(client)
    finally:
        client.close()


def received(subscription: Any, count: int) -> list[int]:
    positions: list[int] = []
    while len(positions) < count:
        batch = subscription.next_batch(100, timeout=60)
        assert batch
        positions += [each.id for each in batch]
    return positions


def play(this: Node, script: list[bytes], expected: int) -> tuple[list[int], Phase]:
    """Return what a subscription hands out, and what it is at after the script."""
    said = Script(this)
    is_over = threading.Event()

    def answers() -> Iterator[bytes]:
        yield CONFIRMATION.SerializeToString()
        yield from script
        # What has come by now was preceded by the rest.
        yield event(said.head)
        is_over.wait(60)

    said.subscriptions = [answers()]
    with recorder(this) as reading, reading.subscribe(gt=1) as subscription:
        try:
            positions = received(subscription, expected + 1)
            phase = subscription.state.phase
        finally:
            is_over.set()
    assert said.begun_after == [1]
    assert positions.pop() == said.head
    return positions, phase


SIGNS = st.sampled_from(
    [
        CAUGHT_UP,
        CAUGHT_UP_AT,
        FELL_BEHIND,
        FELL_BEHIND_AT,
        checkpoint(0),
        checkpoint(500_000),
        UNKNOWN_MESSAGE,
        None,
        None,
    ]
)


@given(st.lists(SIGNS, max_size=8))
@example([checkpoint(0), CAUGHT_UP_AT, None])
@example([CAUGHT_UP, None])
@example([None, checkpoint(10), CAUGHT_UP_AT])
@example([None, CAUGHT_UP, FELL_BEHIND_AT])
def test_whatever_the_order_each_event_is_handed_out_once(
    this: Node, drawn: list[bytes | None]
) -> None:
    script = [
        event(10 + number) if each is None else each
        for number, each in enumerate(drawn)
    ]
    events = [10 + number for number, each in enumerate(drawn) if each is None]
    edges = [each for each in drawn if each is not None and each[0] >> 3 in (8, 9)]
    is_live = bool(edges) and edges[-1][0] >> 3 == 8

    positions, phase = play(this, script, len(events))

    assert positions == events
    assert phase is (Phase.LIVE if is_live else Phase.CATCHING_UP)


def test_a_checkpoint_is_no_place_to_resume_after(this: Node) -> None:
    said = Script(this)
    confirmed = CONFIRMATION.SerializeToString()
    gone = Refused(grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready")
    said.subscriptions = [
        [confirmed, event(10), checkpoint(500), CAUGHT_UP_AT, gone],
        [confirmed, checkpoint(0), CAUGHT_UP, event(20), event(600)],
    ]

    with recorder(this) as reading, reading.subscribe(gt=1) as subscription:
        assert received(subscription, 3) == [10, 20, 600]

    assert said.begun_after[:2] == [1, 10]


@pytest.mark.parametrize(
    "details", ["Exception was thrown by handler.", "Unexpected: InvalidPosition >> 9"]
)
def test_a_wrong_position_is_refused_before_the_confirmation(
    this: Node, details: str
) -> None:
    said = Script(this)
    said.subscriptions = [[Refused(grpc.StatusCode.UNKNOWN, details)]] * 20

    with recorder(this) as reading, pytest.raises(ProgrammingError):
        reading.subscribe(gt=1)


TEXTS = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=30)


@given(TEXTS, st.sampled_from(["UNKNOWN", "INVALID_ARGUMENT"]))
@example("Unexpected FilteredReadAllResult: Error", "UNKNOWN")
@example("Unexpected FilteredReadAllResult: InvalidPosition >> Log", "UNKNOWN")
@example("Exception was thrown by handler.", "UNKNOWN")
@example("Trying to read from an invalid position.", "INVALID_ARGUMENT")
def test_a_read_inside_a_record_is_told_by_the_code_alone(
    this: Node, details: str, code: str
) -> None:
    said = Script(this)
    said.positions = [10, 20, said.head]
    said.refusal = Refused(grpc.StatusCode[code], details)

    with recorder(this) as reading:
        following = reading.select_notifications(start=11, limit=1)
        assert [each.id for each in following] == [20]
        with pytest.raises(ProgrammingError, match="position 15 is inside an event"):
            reading.select_notifications(start=15, limit=1)
        with pytest.raises(ProgrammingError, match="position 11 is inside"):
            reading.select_notifications(start=11, limit=1, stop=11)


def test_who_subscribes_inside_a_record_is_told_so(this: Node) -> None:
    said = Script(this)
    said.subscriptions = [[Refused(grpc.StatusCode.UNKNOWN, "It differs.")]]

    with (
        recorder(this) as reading,
        pytest.raises(ProgrammingError, match="perhaps no event begins: It differs"),
    ):
        reading.subscribe(gt=1)


def test_a_failure_that_no_position_explains_may_pass(this: Node) -> None:
    said = Script(this)
    failed = Refused(grpc.StatusCode.UNKNOWN, "Trying to read from an invalid position")
    said.subscriptions = [[failed]]

    with recorder(this) as reading, pytest.raises(OperationalError):
        reading.subscribe()


def test_a_subscription_begins_though_its_connection_is_closed_meanwhile(
    this: Node,
) -> None:
    said = Script(this)
    is_asked, is_over = threading.Event(), threading.Event()

    def silent() -> Iterator[bytes]:
        is_asked.set()
        is_over.wait(60)
        yield from ()

    confirmed = [CONFIRMATION.SerializeToString(), event(10)]
    said.subscriptions = [silent(), confirmed]

    with recorder(this) as reading:

        def close() -> None:
            assert is_asked.wait(60)
            # As when another call over it hangs, which cancelling does not end.
            connector_of(reading.client).connection(10).close()

        closing = threading.Thread(target=close)
        closing.start()
        with reading.subscribe(gt=1) as subscription:
            closing.join()
            is_over.set()
            assert received(subscription, 1) == [10]


def test_a_wrong_position_is_refused_after_the_confirmation(this: Node) -> None:
    said = Script(this)
    refused = Refused(
        grpc.StatusCode.INVALID_ARGUMENT, "Trying to read from an invalid position."
    )
    said.subscriptions = [[CONFIRMATION.SerializeToString(), refused]] * 20

    with recorder(this) as reading, reading.subscribe(gt=1) as subscription:
        with pytest.raises(ProgrammingError, match="invalid position"):
            subscription.next_batch(10, timeout=60)
        assert subscription.state.phase is Phase.FAILED


REFUSALS = {
    "before": [Refused(grpc.StatusCode.UNKNOWN, "Exception was thrown by handler.")],
    "after": [
        CONFIRMATION.SerializeToString(),
        Refused(grpc.StatusCode.INVALID_ARGUMENT, "It differs."),
    ],
}


@pytest.mark.parametrize("when", REFUSALS)
def test_a_store_that_refuses_where_to_resume_is_another_one(
    this: Node, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lagging, "REFUSAL_PATIENCE", 0.2)
    said = Script(this)
    gone = Refused(grpc.StatusCode.UNAVAILABLE, "")
    begun = [CONFIRMATION.SerializeToString(), CAUGHT_UP, event(10), gone]
    said.subscriptions = [begun, *[REFUSALS[when]] * 50]

    with recorder(this) as reading, reading.subscribe(gt=1) as subscription:
        assert received(subscription, 1) == [10]
        with pytest.raises(
            UnknownPositionError,
            match=r"no event at position 10; the store's last event is at position "
            r"1000000\. This is another store, or it was emptied",
        ):
            subscription.next_batch(10, timeout=60)
        assert subscription.state.phase is Phase.FAILED
    assert len(said.begun_after) > (3 if when == "before" else 1)


def test_a_server_that_fails_for_a_while_is_resumed(this: Node) -> None:
    said = Script(this)
    failing = [Refused(grpc.StatusCode.UNKNOWN, "Exception was thrown by handler.")]
    confirmed = CONFIRMATION.SerializeToString()
    gone = Refused(grpc.StatusCode.UNAVAILABLE, "")
    said.subscriptions = [
        [confirmed, event(10), gone],
        *[failing] * 4,
        [confirmed, event(20)],
    ]

    with recorder(this) as reading, reading.subscribe(gt=1) as subscription:
        assert received(subscription, 2) == [10, 20]


@pytest.mark.parametrize("file", NEWER, ids=lambda file: file.stem)
def test_what_newer_servers_send_is_understood(this: Node, file: Path) -> None:
    for step in json.loads(file.read_text()):
        sent = step["messages"] if isinstance(step, dict) else []
        if not sent or "confirmation" not in sent[0]:
            continue
        answers = [
            parsed(each, Resp).SerializeToString()
            for each in sent[1:]
            if "event" not in each or "event" in each["event"]
        ]
        expected = [
            number(each["event"]["event"]["commitPosition"])
            for each in sent
            if "event" in each
            and not each["event"]["event"]["metadata"]["type"].startswith("$")
        ]

        positions, phase = play(this, answers, len(expected))

        assert positions == expected
        is_live = any("caughtUp" in each for each in sent)
        assert phase is (Phase.LIVE if is_live else Phase.CATCHING_UP)


@pytest.mark.parametrize("file", NEWER, ids=lambda file: file.stem)
def test_refusals_mean_what_those_of_older_servers_mean(this: Node, file: Path) -> None:
    older = json.loads((CONFORMANCE / "golden" / file.name).read_text())

    for before, now in zip(older, json.loads(file.read_text()), strict=True):
        if refusals(before) and refusals(now):
            reasons = [
                [reason(this, each) for each in refusals(step)]
                for step in (before, now)
            ]
            assert reasons[0] == reasons[1]


@pytest.mark.parametrize(
    ("name", "content", "limit"),
    [
        ("MaximumAppendSizeExceeded", b"\x08\x80\x80\x40", "at most 1048576 bytes"),
        (
            "MaximumAppendEventSizeExceeded",
            b"\x0a\x01x\x10\x81\x80\x80\x08\x18\x80\x80\x80\x08",
            "has 16777217 bytes, at most 16777216",
        ),
    ],
)
def test_the_limit_of_a_save_is_what_the_server_says(
    name: str, content: bytes, limit: str
) -> None:
    answer = streams_pb2.BatchAppendResp(
        error=status_pb2.Status(
            message="It differs.",
            details=any_pb2.Any(
                type_url=f"type.googleapis.com/event_store.client.{name}",
                value=content,
            ),
        )
    )

    with pytest.raises(CallError, match=limit) as raised:
        messages.appended(answer)

    assert raised.value.reason is Reason.TOO_LARGE


def refusals(step: Any) -> list[dict[str, Any]]:
    if not isinstance(step, dict):
        return []
    single = [step["error"]] if "error" in step else []
    return single + [each for each in step.get("messages", ()) if "error" in each]


def reason(this: Node, refusal: dict[str, Any]) -> Reason:
    """Return why a call fails that is answered so."""
    with pytest.raises(CallError) as raised:
        if "code" in refusal:
            this.read = None
            this.refusal = (
                grpc.StatusCode[refusal["code"]],
                refusal["details"],
                refusal.get("trailers", {}),
            )
            request = messages.stream_request("x", None, backwards=False, limit=1)
            with recorder(this) as reading:
                list(calls.read_messages(reading.client, request))
        else:
            answer = {"error": refusal["error"]}
            answer["error"]["code"] = "UNKNOWN"
            messages.appended(parsed(answer, streams_pb2.BatchAppendResp))
    return raised.value.reason


def parsed(recorded: Any, kind: Callable[[], Any]) -> Any:
    """Make a message of a recorded one, with values for its placeholders."""
    return json_format.ParseDict(_filled(recorded), kind(), ignore_unknown_fields=True)


def number(position: str) -> int:
    return 10 * int(position.removeprefix("P"))


def _filled(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each) for each in value]
    if not isinstance(value, str):
        return value
    if key in ("commitPosition", "preparePosition") and value[0] == "P":
        return str(number(value))
    if key == "string" and value[0] == "{":
        return str(uuid5(NAMESPACE_OID, value))
    value = re.sub(r"\{s:\w+\}", str(NAMESPACE_OID), value)
    if key in ("streamName", "data", "customMetadata"):
        return b64encode(value.encode()).decode()
    return "1" if key == "created" else value
