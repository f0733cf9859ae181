"""
What this package uses of grpcio and the client libraries though it is not documented.

Each has a test that fails when it is gone, or is not needed any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc import _channel, _common
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


def messages(call: Any) -> Iterator[Any]:
    """
    Iterate over a call's messages as the call itself does, in 3/4 of the time.

    Its own iterator takes its lock four times and calls six functions for each message.

    Raises:
        grpc.RpcError: The call failed, or was cancelled.
    """
    if isinstance(call, _channel._SingleThreadedRendezvous):
        yield from _received(call)
    # It says how it has ended.
    yield from call


def _received(call: Any) -> Iterator[Any]:
    """Yield messages until the call has ended."""
    state, deserialize = call._state, call._response_deserializer
    operate, next_event, due = call._call.operate, call._call.next_event, state.due
    kind = cygrpc.OperationType.receive_message
    while state.code is None:
        # Only the thread that iterates looks at what is due.
        due.add(kind)
        if not operate(_receiving(), None):
            due.remove(kind)
            return
        while kind in due:
            event = next_event()
            operations = event.batch_operations
            if len(operations) != 1 or operations[0].type() != kind:
                _told(call, event)
                continue
            due.remove(kind)
            message = operations[0].message()
            if message is None:
                continue
            try:
                response = deserialize(message)
            except Exception:
                with state.condition:
                    details = "Exception deserializing response!"
                    _channel._abort(state, grpc.StatusCode.INTERNAL, details)
                return
            yield response


def _told(call: Any, event: Any) -> None:
    """Note what the call has been told, which is no message."""
    with call._state.condition:
        callbacks = _channel._handle_event(
            event, call._state, call._response_deserializer
        )
        for callback in callbacks:
            callback()


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
        self._begun = len(operations)
        # Held while a message is handed over. Reentrant, since a client may be
        # collected, and its calls ended, at any moment.
        self._lock = threading.RLock()
        self._is_sending = False
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
        operations = (cygrpc.SendMessageOperation(message, flags),)
        with self._lock:
            if self._is_over:
                return False
            # Before: another thread may be told at once that it was sent.
            self._is_sending = True
            has_begun = False
            try:
                has_begun = bool(self._call.operate(operations, None))
            finally:
                if not has_begun:
                    self._is_sending = False
            return has_begun

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
        received, sent = kinds.receive_message, kinds.send_message
        next_event, operate = self._call.next_event, self._call.operate
        status: Any = None
        # Events that will come, beside that of a message that is being sent. Counted
        # without the lock, since only this thread adds to them: sending holds it.
        due = self._begun
        while due or self._is_still_sending():
            for operation in next_event().batch_operations:
                kind = operation.type()
                if kind == sent:
                    self._is_sending = False
                    on_sent()
                elif kind == received:
                    due -= 1
                    message = operation.message()
                    if message is not None:
                        if operate(_receiving(), None):
                            due += 1
                        on_message(message)
                elif kind == kinds.receive_initial_metadata:
                    due -= 1
                elif kind == kinds.receive_status_on_client:
                    due -= 1
                    status = operation
        code = _common.CYGRPC_STATUS_CODE_TO_STATUS_CODE.get(status.code())
        return (
            code or grpc.StatusCode.UNKNOWN,
            _common.decode(status.details()),
            dict(status.trailing_metadata() or ()),
        )

    def _is_still_sending(self) -> bool:
        """Let nothing more be sent; tell whether something is."""
        with self._lock:
            self._is_over = True
            return self._is_sending


def _receiving() -> tuple[Any]:
    # What is received lies in the operation, so each needs one of its own.
    return (cygrpc.ReceiveMessageOperation(0),)
