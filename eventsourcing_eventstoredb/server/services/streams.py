"""
The Streams service: append, read, subscribe, delete.

Each call has a thread of grpcio's pool. This module only translates: requests into
calls of the engine, and what comes back into messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from time import monotonic
from typing import Any

import grpc

from eventsourcing_eventstoredb.server.engine.append_size import (
    MAX_APPEND_BYTES,
    AppendSize,
)
from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent, resolve
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.engine.subscriptions import (
    AllSubscription,
    Checkpoint,
    Edge,
    Item,
    Sign,
    subscribe_to_stream,
)
from eventsourcing_eventstoredb.server.errors import (
    HandlerError,
    NotReadyError,
    ReadFailedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.services.batches import BatchAppends
from eventsourcing_eventstoredb.server.services.calls import Calls
from eventsourcing_eventstoredb.server.services.encoding import (
    encode_appended,
    encode_checkpoint,
    encode_event,
    encode_sign,
    encode_stream_not_found,
    encode_wrong_version,
)
from eventsourcing_eventstoredb.server.services.messages import StreamsServicer, streams
from eventsourcing_eventstoredb.server.services.requests import (
    ReadRequest,
    parse_event,
    parse_expectation,
    parse_read,
    parse_stream_name,
)
from eventsourcing_eventstoredb.server.storage.metadata import metadata_stream_of
from eventsourcing_eventstoredb.server.storage.notifications import Listener
from eventsourcing_eventstoredb.server.storage.records import (
    MAX_NUMBER,
    NewEvent,
    Record,
)

_EXPECTATION = "expected_stream_revision"


class Streams(StreamsServicer):
    """
    Answers the calls of the Streams service.

    Args:
        calls: What calls have in common.
        reader: Reads the log.
        writer: Writes to it.
        max_append_size: The most bytes of data that one append may have.
    """

    def __init__(
        self,
        calls: Calls,
        reader: Reader,
        writer: Writer,
        max_append_size: int = MAX_APPEND_BYTES,
    ) -> None:
        self._max_append_size = max_append_size
        self._calls = calls
        self._reader = reader
        self._writer = writer

    def Append(  # noqa: N802  the protocol's name
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Any:
        """Append the events of a stream of messages; the first says where."""
        with self._calls.answering(context):
            options = _first_options(request_iterator)
            expected = parse_expectation(
                options,
                _EXPECTATION,
                "revision",
                "Streams.AppendReq+Types+Options+ExpectedStreamRevisionOneofCase",
            )
            named = options.stream_identifier.stream_name
            size = AppendSize(named, self._max_append_size)
            events = list(_proposed_events(size, request_iterator))
            stream = parse_stream_name(options.stream_identifier)
            self._calls.users.check_stream(context, stream)
            try:
                appended = self._writer.append(stream, expected, events)
            except WrongExpectedVersionError as error:
                return encode_wrong_version(error)
            return encode_appended(appended)

    def BatchAppend(  # noqa: N802
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Append batches, each of which is answered by itself."""
        # Before it waits, if the server is frozen.
        came_at = monotonic()
        with self._calls.answering(context):
            users = self._calls.users
            batches = BatchAppends(
                self._writer,
                lambda stream: users.check_stream(context, stream),
                self._calls.start_thread,
                self._max_append_size,
                lambda: self._calls.wait(context),
                came_at,
            )
            with self._calls.ending(context, batches.end):
                pages = batches.answers(request_iterator)
                yield from self._calls.answers(context, pages)
            if batches.was_ended:
                raise NotReadyError

    def Delete(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Delete a stream softly."""
        with self._calls.answering(context):
            stream, expected = _deletion(request, "DeleteReq")
            self._calls.users.check_stream(context, stream)
            position = self._writer.delete(stream, expected)
            return streams.DeleteResp(
                position=streams.DeleteResp.Position(
                    commit_position=position, prepare_position=position
                )
            )

    def Tombstone(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Delete a stream for good."""
        with self._calls.answering(context):
            stream, expected = _deletion(request, "TombstoneReq")
            self._calls.users.check_stream(context, stream)
            position = self._writer.tombstone(stream, expected)
            return streams.TombstoneResp(
                position=streams.TombstoneResp.Position(
                    commit_position=position, prepare_position=position
                )
            )

    def Read(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Read a stream or the whole log, once or for ever."""
        with self._calls.answering(context):
            read = parse_read(request)
            self._calls.users.check_stream(context, read.stream)
            if not read.is_subscription and read.structured_ids is not None:
                yield from self._calls.sending(context, self._read(read))
                return
            listener = Listener(*_streams_to_hear(read))
            with self._calls.listening(context, self._reader.log.notifier, listener):
                pages = (
                    self._subscribe(read, listener)
                    if read.is_subscription
                    else self._read(read)
                )
                if read.structured_ids is None:
                    pages = _silent_from_an_event_on(pages, listener)
                yield from self._calls.sending(context, pages)

    def _read(self, read: ReadRequest) -> Iterator[list[Any]]:
        if read.stream is None:
            return self._read_all(read)
        return self._read_stream(read, read.stream)

    def _read_stream(self, read: ReadRequest, stream: str) -> Iterator[list[Any]]:
        first = _first_number(read)
        if first is None or read.limit == 0:
            msg = "ReadStreamResult"
            raise ReadFailedError(msg)
        view = self._reader.view(stream)
        if not view.is_found:
            yield [encode_stream_not_found(stream)]
            return
        if read.tells_positions and not read.is_backwards:
            for number in self._reader.first_numbers_to_tell(view, first, read.limit):
                yield [streams.ReadResp(first_stream_position=number)]
        read_pages = (
            self._reader.stream_backwards
            if read.is_backwards
            else self._reader.stream_forwards
        )
        for page in read_pages(view, first, read.limit):
            yield [self._encode_event(read, record) for record in page]
        if read.tells_positions:
            yield [streams.ReadResp(last_stream_position=view.last_number)]

    def _read_all(self, read: ReadRequest) -> Iterator[list[Any]]:
        begin = read.begin
        if begin is Edge.START:
            begin = 0
        elif isinstance(begin, Edge):
            begin = self._reader.log.end
        read_pages = (
            self._reader.all_backwards
            if read.is_backwards
            else self._reader.all_forwards
        )
        for page in read_pages(begin, read.limit, read.event_filter):
            yield [self._encode_event(read, record) for record in page]

    def _subscribe(self, read: ReadRequest, listener: Listener) -> Iterator[list[Any]]:
        pages: Iterable[list[Item]]
        if read.stream is not None:
            pages = subscribe_to_stream(self._reader, listener, read.stream, read.begin)
        else:
            pages = AllSubscription(
                self._reader, listener, read.begin, read.event_filter, read.interval
            )
        is_live = False
        for items in pages:
            yield [self._encode_item(read, item, is_live) for item in items]
            is_live = is_live or Sign.CAUGHT_UP in items

    def _encode_item(self, read: ReadRequest, item: Item, is_live: bool) -> Any:
        if isinstance(item, Record):
            return self._encode_event(read, item, is_live=is_live)
        if isinstance(item, Checkpoint):
            return encode_checkpoint(item)
        assert isinstance(item, Sign)
        return encode_sign(item)

    def _encode_event(
        self, read: ReadRequest, record: Record, *, is_live: bool = False
    ) -> Any:
        resolved = (
            resolve(self._reader.log, record, is_live=is_live)
            if read.resolve_links
            else ResolvedEvent(record)
        )
        return encode_event(resolved, structured=bool(read.structured_ids))


def _first_options(requests: Iterator[Any]) -> Any:
    first = next(requests, None)
    if first is None or first.WhichOneof("content") != "options":
        msg = "The first message must be the options."
        raise HandlerError(msg)
    return first.options


def _proposed_events(size: AppendSize, requests: Iterator[Any]) -> Iterator[NewEvent]:
    for request in requests:
        if request.WhichOneof("content") != "proposed_message":
            msg = "Only the first message may be the options."
            raise HandlerError(msg)
        event = parse_event(request.proposed_message)
        size.add(event)
        yield event


def _deletion(request: Any, name: str) -> tuple[str, int]:
    if not request.HasField("options"):
        msg = "Object reference not set to an instance of an object."
        raise HandlerError(msg)
    expected = parse_expectation(
        request.options,
        _EXPECTATION,
        "revision",
        f"Streams.{name}+Types+Options+ExpectedStreamRevisionOneofCase",
    )
    return parse_stream_name(request.options.stream_identifier), expected


def _silent_from_an_event_on(
    pages: Iterator[list[Any]], listener: Listener
) -> Iterator[list[Any]]:
    """
    Do as 23.10, where the client did not say how ids are to be written.

    It fails at the first event, unheard: the call continues, and nothing comes.
    """
    for page in pages:
        told = list(takewhile(lambda each: not each.HasField("event"), page))
        yield told
        if len(told) < len(page):
            while listener.wait():
                listener.clear()
            return


def _first_number(read: ReadRequest) -> int | None:
    """Tell the first number to read; None when there is none, upwards from the end."""
    if read.begin is Edge.START:
        return 0
    if read.begin is Edge.END:
        return MAX_NUMBER if read.is_backwards else None
    assert isinstance(read.begin, int)
    return read.begin


def _streams_to_hear(read: ReadRequest) -> tuple[str, ...]:
    if read.stream is None:
        return ()
    return read.stream, metadata_stream_of(read.stream)
