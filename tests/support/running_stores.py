"""A store that runs already and holds what others have written, as tests get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from eventsourcing_eventstoredb import environment
from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.recorders import aggregates
from eventsourcing_eventstoredb.streams.mapping import Layout

PREFIX_VARIABLE = "EVENTSTOREDB_STREAM_PREFIX"


class RunningStore:
    """
    What tests know of an event store that they may fill, but neither stop nor empty.

    Attributes:
        uri: Its connection string.
        host: The host of its first node.
        port: The port of that one.
        prefix: Of the test's own streams; no other test has it.
    """

    def __init__(self, uri: str, prefix: str) -> None:
        self.uri = uri
        self.prefix = prefix
        host, _, port = parse_connection(uri).targets[0].rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)

    def __getattr__(self, name: str) -> Any:
        msg = (
            f"an event store that runs already has no {name!r}; where a test needs it, "
            "mark it, @pytest.mark.own_store(reason)"
        )
        raise AttributeError(msg)

    @property
    def target(self) -> str:
        """Its first node's ``host:port``."""
        return parse_connection(self.uri).targets[0]


def store_variables(store: object) -> dict[str, str]:
    """Return what processes need besides the address, to have the test's streams."""
    return {PREFIX_VARIABLE: store.prefix} if isinstance(store, RunningStore) else {}


def uri_at(store: Any, addresses: str, *, scheme: str = "esdb") -> str:
    """
    Return a store's connection string with other addresses, or another scheme.

    Args:
        store: A store, whatever it is; its user, password and options are kept.
        addresses: ``host:port``, of several nodes with commas between them.
        scheme: Without ``://``.
    """
    parts = urlsplit(store.uri)
    user, at, _ = parts.netloc.rpartition("@")
    return f"{scheme}://{user}{at}{addresses}{parts.path}?{parts.query}"


def own_prefix(store: object, name: str = "") -> str:
    """Return a prefix of streams that no other test has; of an own store, *name*."""
    if not isinstance(store, RunningStore):
        return name
    return f"{store.prefix}_{name}" if name else store.prefix


def own_stream(store: object, name: str) -> str:
    """Return a stream's name that no other test has; of an own store, *name*."""
    return Layout(own_prefix(store)).stream_name(name)


@contextmanager
def running_store(uri: str) -> Iterator[RunningStore]:
    """
    Give a test a prefix for its streams, until the block ends.

    Applications in this process, and in those that are started with its environment,
    have it, and so have factories and recorders that are not told another one.
    """
    store = RunningStore(uri, f"test{uuid4().hex[:16]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PREFIX_VARIABLE, store.prefix)
        patch.setattr(aggregates, "Layout", partial(Layout, store.prefix))
        read = environment.stream_prefix
        patch.setattr(
            environment,
            "stream_prefix",
            lambda env, name: read(env, name) or store.prefix,
        )
        yield store
