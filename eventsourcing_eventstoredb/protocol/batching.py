"""
One long call for each connection, over which all threads append.

A call costs a stream of HTTP/2, and with grpcio a thread or two; a batch within a call
that is open costs a message. So the batches of all threads of a process go over one
``BatchAppend`` call, and each thread waits for the answer with the correlation ID of
its own batch. One thread takes the answers. It ends with the call, which ends when it
has not been used for a while.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from uuid import uuid4

import grpc

from eventsourcing_eventstoredb.inheriting import without_inheriting
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, status_error
from eventsourcing_eventstoredb.protocol.forking import when_disconnected
from eventsourcing_eventstoredb.protocol.generated import streams
from eventsourcing_eventstoredb.protocol.private import ByteCall
from eventsourcing_eventstoredb.protocol.watching import GRACE_SECONDS, Watch, watcher
from eventsourcing_eventstoredb.text import counted

METHOD = "/event_store.client.streams.Streams/BatchAppend"
THREAD_NAME = "eventstoredb-saves"

# What is under way over one call at most: further threads wait. One batch is let
# through whatever its size.
MOST_BATCHES = 1_000
MOST_BYTES = 8 * 1024 * 1024

# Seconds without a batch after which a call is ended: what lies between client and
# server may cut what is silent for long.
IDLE_SECONDS = 10.0

# Seconds in which nothing at all is answered, after which a call is not used any more
# once a batch was not answered in its time: the next ones go over another call.
SILENT_SECONDS = 0.5


def batch_call(connection: Connection) -> BatchCall:
    """
    Return the call for batches over a connection; it is opened if there is none.

    Raises:
        ValueError: The connection's channel is closed.
    """
    call: BatchCall | None = connection.long_call
    if call is not None and call.is_open:
        return call
    with connection.lock:
        call = connection.long_call
        if call is None or not call.is_open:
            call = connection.long_call = BatchCall(connection)
        return call


class CallOverError(Exception):
    """The call had ended before a batch was handed to it."""


class Batch:
    """
    A batch that is under way; made by :meth:`BatchCall.begin`.

    Attributes:
        key: Its correlation ID.
        request: Its message, until it is over.
        answer: What the server has answered, which may be a refusal.
        error: Why there is no answer.
        is_answered: Can be acquired when there is one of both.
    """

    __slots__ = ("answer", "error", "is_answered", "key", "request")

    def __init__(self, key: str, request: bytes) -> None:
        self.key = key
        self.request = request
        self.answer: streams.BatchAppendResp | None = None
        self.error: CallError | None = None
        # A plain lock is the cheapest thing to wait for.
        self.is_answered = threading.Lock()
        self.is_answered.acquire()


class BatchCall:
    """
    A ``BatchAppend`` call, for any thread to append over.

    Args:
        connection: What it goes over.

    Attributes:
        lost: How many batches were under way when it ended.

    Raises:
        ValueError: The connection's channel is closed.
    """

    def __init__(self, connection: Connection) -> None:
        self.lost = 0
        self._connection = connection
        # Guards all below. Reentrant, since a client may be collected, and its
        # calls ended, at any moment.
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        # How many threads wait for that.
        self._waiting = 0
        self._is_open = True
        self._pending: dict[str, Batch] = {}
        self._bytes = 0
        self._unsent: deque[Batch] = deque()
        self._is_sending = False
        self._used_at = monotonic()
        # Since when batches were sent and none was answered.
        self._silent_since: float | None = None
        self._prefix = str(uuid4())[:-12]
        self._numbers = itertools.count(1)
        arguments = connection.arguments(None, requires_leader=True)
        # gRPC starts threads for it, too.
        self._call = without_inheriting(
            ByteCall,
            connection.channel,
            METHOD,
            arguments["metadata"],
            arguments["credentials"],
        )
        self._watches: list[Watch] = [
            watcher.begin(self._call, connection, IDLE_SECONDS, self._look)
        ]
        connection.companions.append(self.close)
        thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)
        _threads.add(thread)
        without_inheriting(thread.start)

    @property
    def is_open(self) -> bool:
        """Whether batches can be handed to it."""
        return self._is_open

    def begin(self, request: streams.BatchAppendReq, seconds: float) -> Batch:
        """
        Send a batch; blocks only while too much is under way.

        Args:
            request: The whole batch. It gets another correlation ID.
            seconds: How long to wait for others.

        Raises:
            CallOverError: The call has ended. Nothing was sent.
            CallError: The time is over. Nothing was sent.
        """
        key = f"{self._prefix}{next(self._numbers):012x}"
        request.correlation_id.string = key
        batch = Batch(key, request.SerializeToString())
        size = len(batch.request)
        now = monotonic()
        with self._lock:
            if not self._is_open or not self._has_room_for(size):
                self._wait_for_room(size, now + seconds)
                now = monotonic()
            self._pending[key] = batch
            self._bytes += size
            self._used_at = now
            if self._silent_since is None:
                self._silent_since = self._used_at
            has_to_wait, self._is_sending = self._is_sending, True
            if has_to_wait:
                self._unsent.append(batch)
        # Without the lock: others wait for less.
        if not has_to_wait:
            self._call.send(batch.request)
        return batch

    def wait(self, batch: Batch, seconds: float) -> bool:
        """
        Wait for a batch's answer; return whether there is one.

        Raises:
            CallError: The call ended without one. The batch may have been appended.
        """
        if not batch.is_answered.acquire(timeout=max(seconds, 0)):
            return False
        if batch.error is not None:
            raise batch.error
        return True

    def result(self, batch: Batch, seconds: float) -> streams.BatchAppendResp:
        """
        Wait for a batch's answer, so long at most, and return it.

        Raises:
            CallError: There is none. The batch may have been appended.
        """
        if not self.wait(batch, seconds) and self.give_up(batch):
            raise CallError(Reason.DEADLINE, f"{seconds:.1f} s are over")
        if batch.error is not None:
            raise batch.error
        assert batch.answer is not None
        return batch.answer

    def give_up(self, batch: Batch) -> bool:
        """
        Leave a batch to itself; return False if it is over anyway.

        A call in which nothing at all is answered gets no more batches.
        """
        with self._lock:
            if self._take(batch.key) is not None:
                since = self._silent_since
                if since is not None and monotonic() - since >= SILENT_SECONDS:
                    self._is_open = False
                    self._room.notify_all()
                self._end_if_done()
                return True
        if batch.answer is None and batch.error is None:
            # It is about to have one of both.
            batch.is_answered.acquire()
        return False

    def close(self) -> None:
        """End the call: callers that wait for an answer get an error."""
        with self._lock:
            self._is_open = False
        self._call.cancel()

    def _has_room_for(self, size: int) -> bool:
        return not self._pending or (
            len(self._pending) < MOST_BATCHES and self._bytes + size <= MOST_BYTES
        )

    def _wait_for_room(self, size: int, end: float) -> None:
        self._waiting += 1
        try:
            while self._is_open and not self._has_room_for(size):
                if not self._room.wait(end - monotonic()) and end <= monotonic():
                    others = counted(len(self._pending), "other was", "others were")
                    raise CallError(Reason.DEADLINE, f"{others} under way")
        finally:
            self._waiting -= 1
        if not self._is_open:
            raise CallOverError

    def _sent(self) -> None:
        """Send the next batch, if there is one."""
        with self._lock:
            request = b""
            # Passing over those that were given up.
            while self._unsent and not request:
                request = self._unsent.popleft().request
            self._is_sending = bool(request)
            is_followed = bool(self._unsent and self._unsent[-1].request)
        if request:
            self._call.send(request, is_followed=is_followed)

    def _received(self, message: bytes) -> None:
        answer = streams.BatchAppendResp.FromString(message)
        with self._lock:
            batch = self._take(answer.correlation_id.string)
            self._silent_since = monotonic() if self._pending else None
            self._end_if_done()
        if batch is not None:
            batch.answer = answer
            batch.is_answered.release()

    def _take(self, key: str) -> Batch | None:
        """Take a batch out of those that are under way, if it is one."""
        batch = self._pending.pop(key, None)
        if batch is not None:
            self._bytes -= len(batch.request)
            # One that was not sent yet will not be.
            batch.request = b""
            if self._waiting:
                self._room.notify()
        return batch

    def _end_if_done(self) -> None:
        """End a call that takes no more batches when the last one is out."""
        if not self._is_open and not self._pending:
            self._call.cancel()
            # Where that does not end it, its connection is closed.
            self._watches.append(
                watcher.begin(self._call, self._connection, GRACE_SECONDS)
            )

    def _look(self) -> float | None:
        """Tell how long the call may stay open; None to have it ended."""
        with self._lock:
            left = self._used_at + IDLE_SECONDS - monotonic()
            if self._pending or left > 0:
                return max(left, GRACE_SECONDS)
            self._is_open = False
            return None

    def _serve(self) -> None:
        error: CallError
        try:
            status, details, trailers = self._call.serve(self._received, self._sent)
            if status is grpc.StatusCode.OK:
                error = CallError(Reason.UNAVAILABLE, "the server ended the call")
            else:
                error = status_error(status, details, trailers)
        except BaseException as unforeseen:
            error = CallError(Reason.INTERNAL, str(unforeseen))
            self._call.cancel()
            raise
        finally:
            self._end(error)
            _threads.discard(threading.current_thread())

    def _end(self, error: CallError) -> None:
        with self._lock:
            self._is_open = False
            batches = list(self._pending.values())
            self.lost = len(batches)
            self._pending.clear()
            self._unsent.clear()
            self._room.notify_all()
            for watch in self._watches:
                watcher.end(watch)
        with suppress(ValueError):
            self._connection.companions.remove(self.close)
        for batch in batches:
            batch.error = error
            batch.is_answered.release()


_threads: set[threading.Thread] = set()


def _wait_for_threads() -> None:
    """Wait until calls whose connections are closed have ended."""
    for thread in tuple(_threads):
        thread.join(GRACE_SECONDS)


when_disconnected(_wait_for_threads)
os.register_at_fork(after_in_child=_threads.clear)
