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

from eventsourcing_eventstoredb.server.errors import (
    HandlerError,
    NotReadyError,
    ProtocolError,
)
from eventsourcing_eventstoredb.server.services.access import Users
from eventsourcing_eventstoredb.server.services.sending import (
    CallEndedError,
    PageSender,
)
from eventsourcing_eventstoredb.server.storage.notifications import Listener, Notifier

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
        self._is_stopping = False
        self._is_killed = False
        self._ends_lock = threading.Lock()
        self._ends: set[Callable[[], None]] = set()

    def freeze(self) -> None:
        """Let every call wait from now on, whether new or under way."""
        self._running.clear()

    def unfreeze(self) -> None:
        """Let calls continue."""
        self._running.set()

    def stop(self) -> None:
        """Refuse new calls, and end those that would never end by themselves."""
        with self._ends_lock:
            self._is_stopping = True
            ends = list(self._ends)
        self.unfreeze()
        for end in ends:
            end()

    def kill(self) -> None:
        """As `stop`, and withhold the answers of calls that are under way."""
        self._is_killed = True
        self.stop()

    @contextmanager
    def answering(
        self, context: grpc.ServicerContext, *, anonymous: bool = False
    ) -> Iterator[None]:
        """
        End a call with the status that an error stands for.

        An unforeseen error is logged and answered as the real server answers
        one of its own: it ends this call and nothing else.

        Args:
            context: The call.
            anonymous: Whether the call need not come from a user.
        """
        try:
            self.wait(context)
            self._check_ready()
            if not anonymous:
                self.users.check_user(context)
            yield
            self.wait(context)
            if self._is_killed:
                raise NotReadyError
        except ProtocolError as error:
            _abort(context, error)
        except Exception as error:
            if isinstance(error, CallEndedError) or not context.is_active():
                # No client is left to answer; grpcio needs something to drop.
                context.abort(grpc.StatusCode.CANCELLED, "The call has ended.")
            logger.exception("A call failed unexpectedly.")
            _abort(context, HandlerError(str(error)))

    @contextmanager
    def listening(
        self, context: grpc.ServicerContext, notifier: Notifier, listener: Listener
    ) -> Iterator[None]:
        """Keep a listener for as long as a call lasts; see `ending`."""
        notifier.add(listener)
        try:
            with self.ending(context, listener.close):
                yield
        finally:
            notifier.remove(listener)

    @contextmanager
    def ending(
        self, context: grpc.ServicerContext, end: Callable[[], None]
    ) -> Iterator[None]:
        """
        Have *end* called from another thread when a call ends or the server stops.

        Args:
            context: The call.
            end: Sets the call's thread free; may be called more than once.
        """
        with self._ends_lock:
            self._ends.add(end)
            must_end = self._is_stopping
        try:
            if must_end or not context.add_callback(end):
                end()
            yield
        finally:
            with self._ends_lock:
                self._ends.discard(end)

    def sending(
        self, context: grpc.ServicerContext, pages: Iterator[list[Any]]
    ) -> Iterator[Any]:
        """Send pages of messages as the response of a call."""
        sender = PageSender(context)
        for page in pages:
            self.wait(context)
            self._check_ready()
            yield from sender.send(page)
        self._check_ready()

    def answers(
        self, context: grpc.ServicerContext, pages: Iterator[list[Any]]
    ) -> Iterator[Any]:
        """Send pages of answers to what was done, even while the server stops."""
        sender = PageSender(context)
        for page in pages:
            self.wait(context)
            if self._is_killed:
                raise NotReadyError
            yield from sender.send(page)

    def wait(self, context: grpc.ServicerContext) -> None:
        """
        Wait while the server is frozen.

        Raises:
            CallEndedError: The client has given up meanwhile: its request must not be
                found carried out.
        """
        if self._running.is_set():
            return
        self._running.wait()
        # That the client has gone may not have been heard yet; its deadline is known.
        if not context.is_active() or context.time_remaining() == 0:
            raise CallEndedError

    def _check_ready(self) -> None:
        if self._is_stopping:
            raise NotReadyError


def _abort(context: Any, error: ProtocolError) -> None:
    if error.trailers:
        context.set_trailing_metadata(error.trailers)
    context.abort(getattr(grpc.StatusCode, error.code), error.details)
