"""
Batch appends: events that come in several requests and count only when complete.

The batches that have come while others were written are written together. The first
requests of a call are taken by its own thread, and most calls have one. The others are
taken in meanwhile, also while a batch is incomplete, so that the deadline of the batch
can pass while the client is silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from eventsourcing_eventstoredb.server.engine.append_size import (
    MAX_WHOLE_BYTES,
    AppendSize,
)
from eventsourcing_eventstoredb.server.engine.appends import Append, Writer
from eventsourcing_eventstoredb.server.errors import (
    HandlerError,
    InvalidArgumentError,
    MaximumAppendSizeError,
    ProtocolError,
)
from eventsourcing_eventstoredb.server.services.batch_answers import (
    BatchTimeoutError,
    error_answer,
    outcome_answer,
)
from eventsourcing_eventstoredb.server.services.encoding import encode_uuid
from eventsourcing_eventstoredb.server.services.incoming import Requests
from eventsourcing_eventstoredb.server.services.requests import (
    parse_event,
    parse_expectation,
    parse_stream_name,
    parse_uuid,
)
from eventsourcing_eventstoredb.server.storage.records import (
    NewEvent,
)

# The real server's limit for the time from a batch's options to its last events.
WRITE_TIMEOUT: Final = 2.0


@dataclass(slots=True)
class _Batch:
    """A batch that is not complete yet."""

    correlation_id: Any
    identifier: Any
    stream: str
    expected: int
    deadline: float
    max_append_size: int
    events: list[NewEvent] = field(default_factory=list)
    size: AppendSize = field(init=False)

    def __post_init__(self) -> None:
        self.size = AppendSize(self.identifier.stream_name, self.max_append_size)

    def add(self, messages: Any) -> None:
        for message in messages:
            event = parse_event(message, in_batch=True)
            self.size.add(event)
            self.events.append(event)


class BatchAppends:
    """
    The batches of one call.

    Args:
        writer: Appends them.
        check_access: Raises unless the client may write to a stream.
        start_thread: Runs a function in a thread that the server waits for.
        max_append_size: The most bytes of data that one batch may have.
        wait: Called before anything is done, while it may not be.
        wait: Called before anything is done, and returns when it may be.
        came_at: When the call came, by the monotonic clock; None for now.
    """

    def __init__(
        self,
        writer: Writer,
        check_access: Callable[[str], None],
        start_thread: Callable[[Callable[[], None]], object],
        max_append_size: int,
        wait: Callable[[], None] = lambda: None,
        came_at: float | None = None,
    ) -> None:
        self._max_append_size = max_append_size
        self._writer = writer
        self._check_access = check_access
        self._start_thread = start_thread
        self._wait = wait
        now = time.monotonic()
        # By how much more than a request's own deadline says it may be late by now.
        self._held_up = 0.0 if came_at is None else now - came_at
        self._incomplete: dict[bytes, _Batch] = {}
        # Of all batches that are not complete.
        self._bytes = 0
        self._source: Requests | None = None
        self.was_ended = False

    def end(self) -> None:
        """Take no more requests, and answer no more; may be called by any thread."""
        self.was_ended = True
        if self._source is not None:
            self._source.end()

    def answers(self, requests: Iterator[Any]) -> Iterator[list[Any]]:
        """
        Answer each batch once, when it is complete, wrong, or too late.

        Returns:
            Pages of answers. What is answered has been written, durably.
        """
        source = self._source = Requests(requests, self._start_thread)
        if self.was_ended:
            source.end()
        while True:
            deadline = min(
                (batch.deadline for batch in self._incomplete.values()), default=None
            )
            taken = source.take(deadline)
            before = time.monotonic()
            self._wait()
            if self.was_ended:
                return
            self._held_up += time.monotonic() - before
            if taken:
                yield from self._answer(taken)
            elif deadline is None:
                return
            else:
                yield list(self._expire(source.has_ended))
            self._held_up = 0.0

    def _answer(self, taken: list[Any]) -> Iterator[list[Any]]:
        """Answer requests in their order, and write what is complete together."""
        page: list[Any] = []
        complete: list[tuple[_Batch, Append]] = []
        failure: ProtocolError | None = None
        for request in taken:
            # What fails ends the call, yet what came before is written.
            if isinstance(request, InvalidArgumentError):
                failure = request
                break
            try:
                answer = self._take_in(request)
            except HandlerError as error:
                failure = error
                break
            if isinstance(answer, _Batch):
                append = Append(answer.stream, answer.expected, answer.events)
                complete.append((answer, append))
            page.append(answer)
        self._writer.append_all([append for _, append in complete])
        written = {id(batch): append.outcome for batch, append in complete}
        answers = [
            outcome_answer(each.correlation_id, each.identifier, written[id(each)])
            if isinstance(each, _Batch)
            else each
            for each in page
            if each is not None
        ]
        for number, each in enumerate(answers):
            if isinstance(each, Exception):
                # Its text must reach the client, which no answer in a batch can do.
                yield answers[:number]
                raise each
        yield answers
        if failure is not None:
            raise failure

    def _take_in(self, request: Any) -> Any:
        """Return a batch that is complete, an answer, or None if neither is due."""
        batch: _Batch | None = None
        try:
            key = parse_uuid(
                request.correlation_id if request.HasField("correlation_id") else None
            )
            batch = self._take(key)
            is_new = batch is None
            if batch is None:
                if not request.HasField("options"):
                    return None
                batch = _begin(request, self._max_append_size, self._held_up)
                self._check_access(batch.stream)
            batch.add(request.proposed_messages)
            # What has come in one request waited for nothing but this server.
            is_whole = is_new and request.is_final
            if not is_whole and batch.deadline <= time.monotonic():
                raise BatchTimeoutError
            if not request.is_final:
                self._keep(key, batch)
                return None
        except (ProtocolError, BatchTimeoutError) as error:
            if _is_mistake(error) and not request.HasField("options"):
                # The real server needs the options to answer this in the batch.
                raise HandlerError(str(error)) from error
            identifier = _identifier(request) if batch is None else batch.identifier
            return error_answer(request.correlation_id, identifier, error)
        return batch

    def _keep(self, key: bytes, batch: _Batch) -> None:
        if self._bytes + batch.size.whole > MAX_WHOLE_BYTES:
            raise MaximumAppendSizeError(MAX_WHOLE_BYTES)
        self._incomplete[key] = batch
        self._bytes += batch.size.whole

    def _take(self, key: bytes) -> _Batch | None:
        batch = self._incomplete.pop(key, None)
        if batch is not None:
            self._bytes -= batch.size.whole
        return batch

    def _expire(self, everything: bool) -> Iterator[Any]:
        now = time.monotonic()
        for key, batch in list(self._incomplete.items()):
            if everything or batch.deadline <= now:
                self._take(key)
                # In this form whichever the client uses, as the real server does.
                correlation_id = encode_uuid(key, structured=True)
                yield error_answer(
                    correlation_id, batch.identifier, BatchTimeoutError()
                )


def _begin(request: Any, max_append_size: int, held_up: float) -> _Batch:
    options = request.options
    if not options.HasField("stream_identifier"):
        msg = "Object reference not set to an instance of an object."
        raise HandlerError(msg)
    if not options.stream_identifier.stream_name:
        # The check of access stumbles over it, before the deadline is looked at.
        msg = "Value cannot be null. (Parameter 'value')"
        raise HandlerError(msg)
    seconds_left = _seconds_left(options, held_up)
    if seconds_left <= 0:
        raise BatchTimeoutError
    expected = parse_expectation(
        options,
        "expected_stream_position",
        "stream_position",
        "Streams.BatchAppendReq+Types+Options+ExpectedStreamPositionOneofCase",
    )
    return _Batch(
        correlation_id=request.correlation_id,
        identifier=options.stream_identifier,
        stream=parse_stream_name(options.stream_identifier),
        expected=expected,
        deadline=time.monotonic() + min(seconds_left, WRITE_TIMEOUT),
        max_append_size=max_append_size,
    )


def _seconds_left(options: Any, held_up: float) -> float:
    choice = options.WhichOneof("deadline_option")
    if choice == "deadline":
        # Its client may have given it up while the server was frozen.
        return float(options.deadline.seconds + options.deadline.nanos / 1e9) - held_up
    if choice == "deadline_21_10_0":
        at = options.deadline_21_10_0
        return float(at.seconds + at.nanos / 1e9 - time.time())
    return WRITE_TIMEOUT


def _is_mistake(error: Exception) -> bool:
    return isinstance(error, HandlerError | InvalidArgumentError)


def _identifier(request: Any) -> Any:
    if request.options.HasField("stream_identifier"):
        return request.options.stream_identifier
    return None
