"""A node of a cluster, in the process that serves it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2

from eventsourcing_eventstoredb.server.embedded import GRPC_OPTIONS
from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.services.access import Users
from eventsourcing_eventstoredb.server.services.calls import Calls
from eventsourcing_eventstoredb.server.services.messages import (
    GossipServicer,
    codes,
    gossip,
    method_handlers,
    status,
    streams,
)
from eventsourcing_eventstoredb.server.services.streams import Streams
from tests.support.cluster.control import Control, ControlFile, Member, Refusal
from tests.support.cluster.copying import Copy
from tests.support.nodes import cluster_info

_COPY_SECONDS = 0.01
# Without a deadline a call has more time than gRPC can take.
_LONGEST_CALL = 3_600.0
_STREAMS = "/event_store.client.streams.Streams"
_OWN = {f"{_STREAMS}/Read", "/event_store.client.gossip.Gossip/Read"}

_SAID = {
    Refusal.NOT_LEADER: (grpc.StatusCode.NOT_FOUND, "Leader info available"),
    Refusal.LEADER_INFO: (grpc.StatusCode.NOT_FOUND, "Leader info available"),
    Refusal.HANDLER_FAILED: (
        grpc.StatusCode.UNKNOWN,
        "Exception was thrown by handler.",
    ),
    Refusal.NO_LEADER_INFO: (
        grpc.StatusCode.UNKNOWN,
        "No leader info available in response",
    ),
    Refusal.NOT_READY: (grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready"),
}


class Node:
    """
    Serves one node of a cluster, from its making on.

    Args:
        number: Which of the control's members it is.
        control: The file that says what it is.
        data: The store's data file.
        store: The store's ``host:port``.
        port: The port to listen on.
        behind: How many of the last events it does not have until it may.

    Raises:
        RuntimeError: The port is in use.
    """

    def __init__(
        self, number: int, control: Path, data: Path, store: str, port: int, behind: int
    ) -> None:
        self.copy = Copy(data, behind)
        self._number = number
        self._control = ControlFile(control)
        self._refusals = itertools.count()
        executor = ThreadPoolExecutor(1_000)
        self._server = grpc.server(executor, options=GRPC_OPTIONS)
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._calls = Calls(Users({}, {}), executor.submit)
        self._server.add_generic_rpc_handlers(
            (
                _LeaderCalls(self, grpc.insecure_channel(store)),
                method_handlers(_Reads(self, self._calls)),
                method_handlers(_Gossip(self)),
            )
        )
        threading.Thread(target=self._keep_copying, daemon=True).start()
        self._server.start()

    def stop(self) -> None:
        """End all calls in order, and stop to serve."""
        self._calls.stop()
        self._server.stop(0.1).wait()

    @property
    def control(self) -> Control:
        """What is said of the cluster now."""
        return self._control.read()

    @property
    def itself(self) -> Member:
        """What is said of this node now."""
        return self.control.members[self._number]

    def refusal(self) -> Refusal | None:
        """Tell how to refuse what only a leader does; None for a leader."""
        control, role = self.control, self.itself.role
        if role == "Leader":
            return None
        if role != "Follower":
            return Refusal.NOT_READY
        refusals = control.refusals
        return refusals[next(self._refusals) % len(refusals)]

    def refuse(self, refusal: Refusal, context: Any) -> None:
        """End a call."""
        leader = self.control.leader
        if refusal is Refusal.NOT_LEADER and leader is None:
            refusal = Refusal.NO_LEADER_INFO
        if refusal is Refusal.NOT_LEADER:
            assert leader is not None
            host, _, port = leader.address.partition(":")
            context.set_trailing_metadata(
                (
                    ("exception", "not-leader"),
                    ("leader-endpoint-host", host),
                    ("leader-endpoint-port", port),
                )
            )
        context.abort(*_SAID[refusal])

    def update(self) -> None:
        """Copy what this node has to know by now."""
        itself = self.itself
        if not itself.is_behind or itself.role == "Leader":
            self.copy.leave_nothing_out()
        lag = 0 if itself.role == "Leader" else itself.lag
        self.copy.catch_up(time.time() - lag if lag else None)

    def _keep_copying(self) -> None:
        while True:
            self.update()
            time.sleep(_COPY_SECONDS)


class _Reads(Streams):
    """Reads and subscriptions, of the node's copy."""

    def __init__(self, node: Node, calls: Calls) -> None:
        super().__init__(calls, Reader(node.copy), Writer(node.copy))
        self._node = node

    def Read(self, request: Any, context: Any) -> Iterator[Any]:
        node = self._node
        refusal = self._refusal(request, dict(context.invocation_metadata()))
        if refusal is not None:
            node.refuse(refusal, context)
        if node.itself.role == "Leader":
            node.update()
        yield from super().Read(request, context)

    def _refusal(self, request: Any, metadata: dict[str, Any]) -> Refusal | None:
        role = self._node.itself.role
        if role not in ("Leader", "Follower"):
            reads = self._node.control.reads_without_leader
            return None if reads else Refusal.NOT_READY
        is_subscription = request.options.WhichOneof("count_option") == "subscription"
        if metadata.get("requires-leader") != "true" or is_subscription:
            return None
        return self._node.refusal()


class _Gossip(GossipServicer):
    def __init__(self, node: Node) -> None:
        self._node = node

    def Read(self, request: Any, context: Any) -> Any:
        return cluster_info(
            [
                (
                    gossip.MemberInfo.VNodeState.Value(each.role),
                    each.address if each.is_alive else f"-{each.address}",
                )
                for each in self._node.control.members
            ]
        )


class _LeaderCalls(grpc.GenericRpcHandler):
    """Sends on to the store what a leader does, and refuses it otherwise."""

    def __init__(self, node: Node, store: grpc.Channel) -> None:
        self._node = node
        self._store = store

    def service(self, call: Any) -> Any:
        if call.method in _OWN:
            return None
        return grpc.stream_stream_rpc_method_handler(partial(self._answer, call.method))

    def _answer(self, method: str, requests: Any, context: Any) -> Iterator[bytes]:
        refusal = self._node.refusal()
        if refusal is Refusal.NOT_READY and method.endswith("/BatchAppend"):
            yield from map(_not_ready, requests)
        elif refusal is not None:
            self._node.refuse(refusal, context)
        else:
            yield from self._send_on(method, requests, context)

    def _send_on(self, method: str, requests: Any, context: Any) -> Iterator[bytes]:
        refusals: list[Refusal] = []

        def while_leader() -> Iterator[bytes]:
            for request in requests:
                refusal = self._node.refusal()
                if refusal is not None:
                    refusals.append(refusal)
                    call.cancel()
                    return
                yield request

        call = self._store.stream_stream(method)(
            while_leader(), timeout=min(context.time_remaining(), _LONGEST_CALL)
        )
        context.add_callback(call.cancel)
        try:
            for answer in call:
                self._node.update()
                yield answer
        except grpc.RpcError:
            if refusals:
                self._node.refuse(refusals[0], context)
            context.set_trailing_metadata(call.trailing_metadata())
            context.abort(call.code(), call.details())


def _not_ready(body: bytes) -> bytes:
    request = streams.BatchAppendReq.FromString(body)
    details = any_pb2.Any()
    details.Pack(empty_pb2.Empty())
    answer = streams.BatchAppendResp(
        correlation_id=request.correlation_id,
        stream_identifier=request.options.stream_identifier,
        error=status.Status(
            code=codes.UNAVAILABLE, message="Server Is Not Ready", details=details
        ),
    )
    said: bytes = answer.SerializeToString()
    return said
