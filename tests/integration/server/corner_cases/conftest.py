from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer


@pytest.fixture
def channel(server: EmbeddedServer) -> Iterator[grpc.Channel]:
    target = server.uri.removeprefix("esdb://").partition("?")[0]
    with grpc.insecure_channel(target) as channel:
        yield channel
