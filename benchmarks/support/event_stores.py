"""The event stores that benchmarks measure, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listening(module: str, *arguments: str) -> Iterator[str]:
    """Run a server's module in a process until the block ends; yield its URI."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextmanager
def event_store(uri: str | None = None) -> Iterator[str]:
    """Yield the URI of a server that runs, or of an embedded one until the end."""
    if uri:
        yield uri
        return
    with listening("eventsourcing_eventstoredb.server", "--port", "0") as embedded:
        yield embedded


def new_prefix() -> str:
    """Return a prefix for streams' names that no other measurement has."""
    return f"bench{uuid.uuid4().hex[:12]}"
