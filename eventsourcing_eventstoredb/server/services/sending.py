"""
Sending many messages of one call without a change of threads between any two.

grpcio's server hands each message of a response from the thread of the call to its
polling thread and waits there until it is sent, which costs more than all else. Here
the polling thread sends a page itself: the completion of one message starts the next.

That needs private parts of grpcio (:mod:`.private`). Where they are not as expected,
messages go the public way, only slower.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import grpc

from eventsourcing_eventstoredb.server.services import private

logger = logging.getLogger(__name__)


class CallEndedError(Exception):
    """The client has gone, or the server stops: nothing can be sent any more."""


class PageSender:
    """
    Sends the response of one call, page by page.

    To be used by the thread of the call only.
    """

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._state = getattr(context, "_state", None)
        event = getattr(context, "_rpc_event", None)
        self._call = getattr(event, "call", None)
        # The public way sends the headers, so it takes the first message.
        self._has_begun = False

    def send(self, page: list[Any]) -> Iterator[Any]:
        """
        Send a page, in order; blocks until the client's window has taken it.

        Returns:
            What is left for the caller to yield to grpcio.

        Raises:
            CallEndedError: The call has ended; some of the page may have been sent.
        """
        if not self._has_begun and page:
            self._has_begun = True
            yield page[0]
            page = page[1:]
        if len(page) < 2 or not private.HAS_INTERNALS or self._call is None:
            yield from page
        else:
            _Chain(self._call, self._state, page).run()


class _Chain:
    """One page on its way."""

    def __init__(self, call: Any, state: Any, page: list[Any]) -> None:
        self._call = call
        self._state = state
        self._messages = [message.SerializeToString() for message in reversed(page)]
        self._done = threading.Event()
        self._is_complete = False

    def run(self) -> None:
        with self._state.condition:
            if not private.is_active(self._state):
                raise CallEndedError
            # As long as the token is due grpcio keeps the call's state.
            self._state.due.add(private.SEND_TOKEN)
            if not self._start_next():
                self._state.due.remove(private.SEND_TOKEN)
                raise CallEndedError
        self._done.wait()
        if not self._is_complete or not private.is_active(self._state):
            raise CallEndedError

    def _start_next(self) -> bool:
        if not self._messages:
            self._is_complete = True
            return False
        if not private.is_active(self._state):
            return False
        message = self._messages.pop()
        # All but the last may wait for the next one, and go out with it.
        operation = private.SendMessage(
            message, private.BUFFER_HINT if self._messages else 0
        )
        try:
            self._call.start_server_batch((operation,), self._on_sent)
        except Exception:
            # Reported by `run`, in the call's own thread.
            logger.exception("grpcio refuses to send.")
            return False
        return True

    def _on_sent(self, event: Any) -> Any:
        # In grpcio's polling thread. Must not raise: that would end the server.
        with self._state.condition:
            if self._start_next():
                return None, ()
            finished = private.possibly_finish_call(self._state, private.SEND_TOKEN)
        self._done.set()
        return finished
