"""Ending what takes too long in the database, whatever its thread is doing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from django.db import Error as DatabaseError
from django.db import connections

from django_esdb.db.sessions import Session, end_session
from django_esdb.tracebacks import frame_of


class TimeLimit:
    """
    Ends the session of a transaction that takes longer than it may.

    So its locks are gone, and what it did is undone, also while its thread hangs.

    Args:
        seconds: How long it may take.
        over: Called then, when the session has been ended, in a thread of its own.

    Attributes:
        is_over: Whether the time was over.
    """

    def __init__(
        self, seconds: float, over: Callable[[], object] = lambda: None
    ) -> None:
        self.seconds = seconds
        self.is_over = False
        self._over = over
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._thread = 0

    @contextmanager
    def of(self, session: Session) -> Iterator[None]:
        """Limit the transaction that the calling thread has in a session."""
        self._session, self._thread = session, threading.get_ident()
        timer = threading.Timer(self.seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            # Waits for who is about to end it: it may be another's afterwards.
            with self._lock:
                self._session = None

    def _end(self) -> None:
        with self._lock:
            session = self._session
            if session is None:
                return
            self.is_over = True
            try:
                # A database that cannot be reached has no transaction to be ended.
                with suppress(DatabaseError):
                    end_session(session, self._frame)
            finally:
                with suppress(DatabaseError):
                    connections[session.using].close()
        self._over()

    def _frame(self) -> FrameType | None:
        return frame_of(self._thread)
