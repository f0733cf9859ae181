"""Asking a server whether it is there."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, call_error
from eventsourcing_eventstoredb.protocol.generated import shared

# What says that no server has answered; any other status is an answer.
_NO_ANSWER = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)


class Question:
    """A question that costs a server nothing, and that a fork may break off."""

    def __init__(self) -> None:
        self._call: Any = None
        self._is_over = threading.Event()

    def ask(
        self, connection: Connection, seconds: float, *, waits: bool = False
    ) -> None:
        """
        Ask, without waiting for the answer.

        Args:
            connection: To the server.
            seconds: In which it has to answer.
            waits: Whether the question waits for a connection that is broken, and so
                has gRPC work on it.
        """
        self._call = connection.gossip.Read.future(
            shared.Empty(), wait_for_ready=waits, **connection.arguments(seconds)
        )
        self._call.add_done_callback(lambda call: self._is_over.set())

    def is_answered(self, seconds: float) -> bool | None:
        """Wait so long; return whether there was an answer, None if it may come yet."""
        if not self._is_over.wait(seconds):
            return None
        return self._call.code() not in _NO_ANSWER

    def answer(self) -> Any:
        """Return the answer that has come, the nodes, or a CallError."""
        try:
            return self._call.result(0)
        except grpc.RpcError as error:
            return call_error(error)
        except (grpc.FutureTimeoutError, grpc.FutureCancelledError):
            return CallError(Reason.DEADLINE)

    def leave_grpc(self) -> None:
        """Break the question off."""
        if self._call is not None:
            self._call.cancel()

    def is_outside_grpc(self) -> bool:
        """Say that it is under way."""
        return False
