"""Servers of batches that do what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tests.support.client_library import shared_pb2, streams_pb2, streams_pb2_grpc

Answers = Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Any]]


def success(request: Any, position: int = 1) -> Any:
    """Return the answer to a batch that was appended."""
    answer = streams_pb2.BatchAppendResp(correlation_id=request.correlation_id)
    answer.success.current_revision = 0
    answer.success.position.commit_position = position
    return answer


def conflict(request: Any, current: int) -> Any:
    """Return the answer to a batch that expected another version."""
    answer = streams_pb2.BatchAppendResp(correlation_id=request.correlation_id)
    answer.error.details.Pack(
        shared_pb2.WrongExpectedVersion(current_stream_revision=current)
    )
    return answer


def stream_of(request: Any) -> str:
    """Return the name of the stream that a batch is for."""
    return bytes(request.options.stream_identifier.stream_name).decode()


class BatchServer(streams_pb2_grpc.StreamsServicer):
    """
    Answers batches, and what is appended without them.

    Attributes:
        uri: Where it is.
        answers: Gets a call's requests, and yields answers.
        batches: The batches that have come, by call.
        alone: The streams that were appended to without batches.
        appends: What is done about those.
    """

    def __init__(self) -> None:
        self.uri = ""
        self.answers: Answers = lambda requests, context: map(success, requests)
        self.batches: list[list[Any]] = []
        self.alone: list[str] = []
        self.appends: Callable[[grpc.ServicerContext], None] = lambda context: None
        self._lock = threading.Lock()

    @property
    def streams(self) -> list[str]:
        """The names of the streams of all batches that have come."""
        with self._lock:
            return [stream_of(each) for call in self.batches for each in call]

    def Read(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield streams_pb2.ReadResp(
            stream_not_found=streams_pb2.ReadResp.StreamNotFound()
        )

    def BatchAppend(
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        seen: list[Any] = []
        with self._lock:
            self.batches.append(seen)

        def noted() -> Iterator[Any]:
            for request in request_iterator:
                seen.append(request)
                yield request

        yield from self.answers(noted(), context)

    def Append(
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Any:
        options, *events = request_iterator
        self.appends(context)
        assert events
        self.alone.append(stream_of(options))
        answer = streams_pb2.AppendResp()
        answer.success.position.commit_position = 7
        return answer


@contextmanager
def batch_server() -> Iterator[BatchServer]:
    """Run one until the block ends."""
    this = BatchServer()
    server = grpc.server(ThreadPoolExecutor(32))
    streams_pb2_grpc.add_StreamsServicer_to_server(this, server)
    port = server.add_insecure_port("127.0.0.1:0")
    this.uri = f"esdb://127.0.0.1:{port}?Tls=false"
    server.start()
    try:
        yield this
    finally:
        server.stop(None).wait()
