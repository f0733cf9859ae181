"""Compressed messages, which would be decompressed before anybody logs in."""

from __future__ import annotations

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_refused(
    server: EmbeddedServer, how: grpc.Compression
) -> None:
    options = streams_pb2.AppendReq.Options(
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"a" * 100_000),
        any=shared_pb2.Empty(),
    )
    with grpc.insecure_channel(server.target) as channel:
        stub = streams_pb2_grpc.StreamsStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Append(
                iter([streams_pb2.AppendReq(options=options)]),
                compression=how,
                timeout=20,
            )

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
