"""
Plays recorded scenarios against a server and makes the answers comparable.

A step of a scenario is a call with its requests, or something to do with a call that
an earlier step left open: take more of its messages, push requests, cancel it. In its
requests ``{s:a}`` is a stream name of this run, ``{prefix}`` what all of them begin
with, ``{id:1}`` an event id, ``{pos:p+1}`` a saved position plus one.

In the answers those come back as the placeholders. Positions become P1, P2, ... in
their order, ids that the server chose U1, U2, ..., times T.
"""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format

from tests.support.client_library import (
    gossip_pb2_grpc,
    persistent_pb2,
    persistent_pb2_grpc,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)

assert any_pb2  # known to json_format only when imported

_STREAMS = streams_pb2_grpc.StreamsStub
_PERSISTENT = persistent_pb2_grpc.PersistentSubscriptionsStub

_CALLS = {
    "Append": (_STREAMS, streams_pb2.AppendReq),
    "BatchAppend": (_STREAMS, streams_pb2.BatchAppendReq),
    "Read": (_STREAMS, streams_pb2.ReadReq),
    "Delete": (_STREAMS, streams_pb2.DeleteReq),
    "Tombstone": (_STREAMS, streams_pb2.TombstoneReq),
    "Gossip.Read": (gossip_pb2_grpc.GossipStub, shared_pb2.Empty),
    "Persistent.Create": (_PERSISTENT, persistent_pb2.CreateReq),
    "Persistent.Update": (_PERSISTENT, persistent_pb2.UpdateReq),
    "Persistent.Delete": (_PERSISTENT, persistent_pb2.DeleteReq),
    "Persistent.GetInfo": (_PERSISTENT, persistent_pb2.GetInfoReq),
    "Persistent.List": (_PERSISTENT, persistent_pb2.ListReq),
    "Persistent.ReplayParked": (_PERSISTENT, persistent_pb2.ReplayParkedReq),
    "Persistent.Read": (_PERSISTENT, persistent_pb2.ReadReq),
}
_CLIENT_STREAMING = {"Append", "BatchAppend", "Persistent.Read"}
_SERVER_STREAMING = {"Read", "BatchAppend", "Persistent.Read"}

_PLACEHOLDER = re.compile(r"\{(?:(prefix)|(s|id|pos):([^}+]+)(?:\+(\d+))?)\}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)")
_TEXT_POSITION = re.compile(r"\b([CP]):(\d+)")

_BYTES_FIELDS = ("streamName", "data", "customMetadata")
_POSITION_FIELDS = ("commitPosition", "preparePosition")
_FIXED_POSITIONS = (0, 2**63 - 1, 2**64 - 1)
_LONG = 500


@dataclass
class OpenCall:
    """
    A call whose messages are collected while the scenario continues.
    """

    call: Any
    requests: SimpleQueue[Any]
    received: SimpleQueue[tuple[str, Any]] = field(default_factory=SimpleQueue)

    def collect(self) -> None:
        try:
            for message in self.call:
                self.received.put(("message", message))
            self.received.put(("end", True))
        except grpc.RpcError as error:
            self.received.put(("error", describe_error(error)))

    def take(self, step: dict[str, Any]) -> dict[str, Any]:
        messages: list[Any] = []
        limit, patience = step.get("take", 10**9), step.get("idle", 10)
        while len(messages) < limit:
            try:
                kind, item = self.received.get(timeout=patience)
            except Empty:
                break
            if kind != "message":
                return {"messages": messages, kind: item}
            messages.append(json_format.MessageToDict(item))
        return {"messages": messages, "open": True}

    def close(self) -> None:
        self.call.cancel()
        self.requests.put(None)


class ScenarioPlayer:
    """
    Plays one scenario on one channel.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._prefix = f"t{uuid.uuid4().hex[:10]}-"
        self._streams: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._positions: dict[str, int] = {}
        self._open: dict[str, OpenCall] = {}

    def play(self, steps: list[dict[str, Any]]) -> list[Any]:
        """
        Play the steps and return the comparable answers, one for each.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            answers = [self._step(step) for step in steps]
        return Comparable(
            self._prefix, self._streams, self._ids, set(self._positions.values())
        ).answers(answers)

    def _close(self) -> None:
        for call in self._open.values():
            call.close()

    def _step(self, step: dict[str, Any]) -> Any:
        if "sleep" in step:
            time.sleep(step["sleep"])
            return "slept"
        if "cancel" in step:
            self._open.pop(step["cancel"]).close()
            return "cancelled"
        if "more" in step:
            return self._saving(step, self._open[step["more"]].take(step))
        requests = [self._message(step["call"], body) for body in step["send"]]
        if "push" in step:
            for request in requests:
                self._open[step["push"]].requests.put(request)
            return "sent"
        return self._call(step, requests)

    def _call(self, step: dict[str, Any], requests: list[Any]) -> Any:
        name = step["call"]
        stub = _CALLS[name][0](self._channel)
        method = getattr(stub, name.rpartition(".")[2])
        queue: SimpleQueue[Any] = SimpleQueue()
        for request in requests:
            queue.put(request)
        if "open" not in step:
            queue.put(None)
        argument = iter(queue.get, None) if name in _CLIENT_STREAMING else requests[0]
        options = {"timeout": 20, "metadata": list(step.get("metadata", {}).items())}
        if name not in _SERVER_STREAMING:
            try:
                answer = method(argument, **options)
            except grpc.RpcError as error:
                return {"error": describe_error(error)}
            return self._saving(step, {"messages": [json_format.MessageToDict(answer)]})
        call = OpenCall(method(argument, **options), queue)
        threading.Thread(target=call.collect, daemon=True).start()
        self._open[step.get("open", f"call {len(self._open)}")] = call
        return self._saving(step, call.take(step))

    def _saving(self, step: dict[str, Any], answer: dict[str, Any]) -> Any:
        for name, path in step.get("save", {}).items():
            value: Any = answer["messages"]
            for part in path.split("."):
                value = value[int(part) if isinstance(value, list) else part]
            self._positions[name] = int(value)
        return answer

    def _message(self, call: str, body: Any) -> Any:
        return json_format.ParseDict(self._filled(body), _CALLS[call][1]())

    def _filled(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if "bigData" in value:
                value = {**value, "data": "x" * int(value["bigData"])}
                del value["bigData"]
            if key == "data" and "base64" in value:
                return value["base64"]
            return {name: self._filled(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, str):
            value = _PLACEHOLDER.sub(self._placeholder, value)
            if key in _BYTES_FIELDS:
                return base64.b64encode(value.encode()).decode()
        return value

    def _placeholder(self, match: re.Match[str]) -> str:
        is_prefix, kind, name, plus = match.groups()
        if is_prefix:
            return self._prefix
        if kind == "s":
            return self._streams.setdefault(name, self._prefix + name)
        if kind == "id":
            return self._ids.setdefault(name, str(uuid.uuid4()))
        return str(self._positions[name] + int(plus or 0))


def describe_error(error: Any) -> dict[str, Any]:
    description = {"code": error.code().name, "details": error.details()}
    trailers = {
        key: value
        for key, value in error.trailing_metadata() or ()
        if key not in ("date", "server", "content-length")
    }
    return {**description, "trailers": trailers} if trailers else description


class Comparable:
    """
    Replaces in answers what differs from run to run.
    """

    def __init__(
        self,
        prefix: str,
        streams: dict[str, str],
        ids: dict[str, str],
        positions: set[int],
    ) -> None:
        # Longest first: one name can begin with another.
        self._names = [
            *sorted(
                ((full, f"{{s:{name}}}") for name, full in streams.items()),
                key=lambda pair: -len(pair[0]),
            ),
            (prefix, "{prefix}"),
        ]
        self._ids = {value: f"{{id:{name}}}" for name, value in ids.items()}
        self._chosen: dict[str, str] = {}
        self._positions = positions
        self._ranks: dict[int, str] = {}

    def answers(self, answers: list[Any]) -> list[Any]:
        self._collect(answers)
        self._positions -= set(_FIXED_POSITIONS)
        for rank, position in enumerate(sorted(self._positions), start=1):
            self._ranks[position] = f"P{rank}"
        replaced: list[Any] = self._replace(answers, "")
        return replaced

    def _collect(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._collect(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key in _POSITION_FIELDS:
                    self._positions.add(int(item))
                else:
                    self._collect(item)

    def _replace(self, value: Any, key: str) -> Any:
        if key in ("created", "timeStamp"):
            return "T"
        if key == "httpEndPoint":
            return "the advertised address"
        if key in _POSITION_FIELDS:
            return self._ranks.get(int(value), value)
        if key == "structured" and value:
            high = int(value.get("mostSignificantBits", 0)) % 2**64
            low = int(value.get("leastSignificantBits", 0)) % 2**64
            return self._text(str(uuid.UUID(int=high << 64 | low)))
        if isinstance(value, dict):
            # In the order of the names, since ids are numbered as they appear.
            return {name: self._replace(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._replace(item, "") for item in value]
        if not isinstance(value, str):
            return value
        return self._bytes(value) if key in _BYTES_FIELDS else self._text(value)

    def _bytes(self, encoded: str) -> Any:
        content = base64.b64decode(encoded)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return {"base64": encoded}
        return self._text(text) if len(text) < _LONG else f"<{len(content)} bytes>"

    def _text(self, text: str) -> str:
        for full, placeholder in self._names:
            text = text.replace(full, placeholder)
        text = _UUID.sub(self._id, text)
        text = _TIME.sub("T", text)
        return _TEXT_POSITION.sub(
            lambda found: f"{found[1]}:{self._ranks.get(int(found[2]), found[2])}",
            text,
        )

    def _id(self, found: re.Match[str]) -> str:
        value = found[0]
        return self._ids.get(value) or self._chosen.setdefault(
            value, f"U{len(self._chosen) + 1}"
        )
