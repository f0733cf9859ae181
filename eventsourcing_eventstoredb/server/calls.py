"""
What all servicers need around their methods.

Errors become a status, users are checked, threads that wait for a call are set free
when it ends, and a frozen server answers nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from .access import Users
from .errors import HandlerError, ProtocolError
from .notifications import Listener, Notifier
from .sending import CallEndedError, PageSender

logger = logging.getLogger(__name__)


class Calls:
    """
    Handles what calls have in common.

    Args:
        users: Who may do what.
        start_thread: Runs a function in a thread that the server waits for.
    """

    def __init__(
        self, users: Users, start_thread: Callable[[Callable[[], None]], object]
    ) -> None:
        self.users = users
        self.start_thread = start_thread
        self._running = threading.Event()
        self._running.set()

    def freeze(self) -> None:
        """
        Let every call wait from now on, whether new or under way.
        """
        self._running.clear()

    def unfreeze(self) -> None:
        """
        Let calls go on.
        """
        self._running.set()

    @contextmanager
    def answering(
        self, context: grpc.ServicerContext, *, anonymous: bool = False
    ) -> Iterator[None]:
        """
        End a call with the status that an error stands for.

        An error that nobody foresaw is logged and answered as the real server answers
        one of its own: it ends this call and nothing else.

        Args:
            context: The call.
            anonymous: Whether the call need not come from a user.
        """
        try:
            self._wait(context)
            if not anonymous:
                self.users.check_user(context)
            yield
            self._wait(context)
        except ProtocolError as error:
            _abort(context, error)
        except Exception as error:
            if isinstance(error, CallEndedError) or not context.is_active():
                # Nobody is left to be answered; grpcio needs something to drop.
                context.abort(grpc.StatusCode.CANCELLED, "The call has ended.")
            logger.exception("A call failed unexpectedly.")
            _abort(context, HandlerError(str(error)))

    @contextmanager
    def listening(
        self, context: grpc.ServicerContext, notifier: Notifier, listener: Listener
    ) -> Iterator[None]:
        """
        Keep a listener for as long as a call lasts.

        The end of the call closes it from grpcio's thread, so a thread that waits on
        it is set free when the client vanishes or the server stops.
        """
        notifier.add(listener)
        try:
            if not context.add_callback(listener.close):
                listener.close()
            yield
        finally:
            notifier.remove(listener)

    def sending(
        self, context: grpc.ServicerContext, pages: Iterator[list[Any]]
    ) -> Iterator[Any]:
        """
        Send pages of messages as the response of a call.
        """
        sender = PageSender(context)
        for page in pages:
            self._wait(context)
            yield from sender.send(page)

    def _wait(self, context: grpc.ServicerContext) -> None:
        if self._running.is_set():
            return
        self._running.wait()
        # Whoever has given up in the meantime must not find its request carried out.
        if not context.is_active():
            raise CallEndedError


def _abort(context: Any, error: ProtocolError) -> None:
    if error.trailers:
        context.set_trailing_metadata(error.trailers)
    context.abort(getattr(grpc.StatusCode, error.code), error.details)
