"""
What this package uses of grpcio and the client libraries though it is not documented.

Each has a test that fails when it is gone, or is not needed any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
from grpc import _common
from grpc._cython import cygrpc

# Names of gRPC's own threads, as Linux has them, cut off at 15 characters. Nothing
# public tells when gRPC has ended, which it does in threads of its own after the last
# channel is closed; a fork before that leaves children that hang.
GRPC_THREADS = frozenset(
    {
        "default-executo",
        "event_engine",
        "grpc_global_tim",
        "grpc_shutdown",
        "lifeguard",
        "resolver-execut",
    }
)


def take_the_last(call: Any) -> None:
    """
    Take all that gRPC has left to tell of a call that was cancelled.

    Only for the thread that iterates over the call. Where no other thread of gRPC's
    serves the call, it is kept, with all that it has received, until this is done;
    :meth:`cancel` alone ends iteration before.
    """
    # A call of another kind is served by a thread of gRPC's.
    take = getattr(call, "_consume_next_event", None)
    while take is not None and call._state.due:
        take()


def add_call_metadata(client: Any, metadata: tuple[tuple[str, str], ...]) -> None:
    """
    Have a client of a client library send more with each of its user's own calls.

    Each call takes headers from its caller, and the client gives this to all of them.
    """
    client._call_metadata = (*client._call_metadata, *metadata)


class ByteCall:
    """
    A call in both directions, whose messages are bytes.

    What gRPC makes public of such a call hands each message through three threads,
    which costs more than all else. This one has no thread: who wants to know what has
    come takes it with :meth:`serve`.

    Args:
        channel: An open channel.
        method: The method's full name.
        metadata: What is sent ahead.
        credentials: Who calls; None for no user.

    Raises:
        ValueError: The channel is closed.
    """

    def __init__(
        self,
        channel: Any,
        method: str,
        metadata: Any,
        credentials: Any,
    ) -> None:
        operations = (
            (
                cygrpc.SendInitialMetadataOperation(metadata, 0),
                cygrpc.ReceiveStatusOnClientOperation(0),
            ),
            (cygrpc.ReceiveInitialMetadataOperation(0),),
            _receiving(),
        )
        # Reentrant, since a client may be collected, and its calls ended, at any
        # moment.
        self._lock = threading.RLock()
        self._due = len(operations)
        self._is_over = False
        self._call = channel._channel.segregated_call(
            cygrpc.PropagationConstants.GRPC_PROPAGATE_DEFAULTS,
            method.encode(),
            None,
            None,
            metadata,
            None if credentials is None else credentials._credentials,
            tuple((each, None) for each in operations),
            cygrpc.build_census_context(),
            None,
        )

    def send(self, message: bytes, *, is_followed: bool = False) -> bool:
        """
        Send a message; return whether the call was not over.

        Not before the last one's *on_sent*. Does not block.

        Args:
            message: What to send.
            is_followed: Whether it may wait for the next one, and go out with that.
        """
        flags = cygrpc.WriteFlag.buffer_hint if is_followed else 0
        return self._operate((cygrpc.SendMessageOperation(message, flags),))

    def cancel(self) -> None:
        """Break the call off; may be called by any thread, and repeatedly."""
        with self._lock:
            if not self._is_over:
                code = _common.STATUS_CODE_TO_CYGRPC_STATUS_CODE[
                    grpc.StatusCode.CANCELLED
                ]
                self._call.cancel(code, "Locally cancelled by application!")

    def serve(
        self, on_message: Callable[[bytes], None], on_sent: Callable[[], None]
    ) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
        """
        Take what comes until the call is over; to be called once, blocks.

        Args:
            on_message: Gets each message.
            on_sent: Called when a message has been sent, or will not be.

        Returns:
            The call's status, its text and its trailers.
        """
        kinds = cygrpc.OperationType
        status: Any = None
        while True:
            event = self._call.next_event()
            for operation in event.batch_operations:
                kind = operation.type()
                if kind == kinds.receive_message:
                    message = operation.message()
                    if message is not None:
                        self._operate(_receiving())
                        on_message(message)
                elif kind == kinds.send_message:
                    on_sent()
                elif kind == kinds.receive_status_on_client:
                    status = operation
            with self._lock:
                self._due -= 1
                if self._due == 0:
                    self._is_over = True
                    break
        code = _common.CYGRPC_STATUS_CODE_TO_STATUS_CODE.get(status.code())
        return (
            code or grpc.StatusCode.UNKNOWN,
            _common.decode(status.details()),
            dict(status.trailing_metadata() or ()),
        )

    def _operate(self, operations: Any) -> bool:
        with self._lock:
            if self._is_over or not self._call.operate(operations, None):
                return False
            self._due += 1
            return True


def _receiving() -> tuple[Any]:
    # What is received lies in the operation, so each needs one of its own.
    return (cygrpc.ReceiveMessageOperation(0),)
