"""
How fast events are saved, over one long call and by a call for each save.

    python -m benchmarks.bench_saving [--quick] [--uri URI]

The same saves are made in several ways, in turns, so that whatever else the machine
does meets each: by the client library's own call, by this package's recorder with a
call for each save, and by the recorder as it is, over one long call. From one thread
and from 16, which share one client. The servers run in processes of their own: a bare
gRPC server that answers each batch at once, so that the client is what is measured, and
the embedded server, in memory and on disk. A server that runs, named by its URI, is
measured as well.

Over the long call new aggregates are saved as well, with IDs that are random, and with
ones that are made from names, before which the server is asked whether their stream was
deleted.

CPU is that of this process, the client's. The ratio is that of the saves over the long
call to the line's: so often as many. What new aggregates cost is found more closely by
saving an existing one, a new one and one with a name in turns, and comparing the
medians of what each save took. Ratios count; figures vary with the machine.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch
from uuid import NAMESPACE_URL, uuid4, uuid5

from eventsourcing.persistence import StoredEvent

from benchmarks.support.client_library import NewEvent, StreamState
from benchmarks.support.event_stores import listening, new_prefix
from benchmarks.support.options import new_parser, write_results
from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.mapping import Layout
from eventsourcing_eventstoredb.protocol import saving
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder

SAVES = 1_600
ROUNDS = 5
THREADS = (1, 16)
TOPIC = "school.domain:Dog.TrickAdded"
DATA = b'{"name":"Fido","trick":"roll over","taught_by":"Anna","hours":12}'


@dataclass
class Round:
    """What one round took."""

    rate: float
    cpu_us: float
    latencies: list[float] = field(repr=False)


class Target:
    """
    A server, and the ways to save to it; each save is of one event.

    Args:
        name: What it is called in the output.
        uri: Where it is.
    """

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self.client = Client(parse_connection(uri))
        self._prefix = new_prefix()
        self.recorder = EventStoreDBApplicationRecorder(
            self.client, layout=Layout(self._prefix)
        )
        # Each thread appends to an aggregate of its own.
        self._own = threading.local()

    def begin(self) -> None:
        """Have each thread begin an aggregate when it saves next."""
        self._own = threading.local()

    def by_client(self) -> None:
        """Save by the client library's own call."""
        stream, version = self._next()
        self.client.append_events(
            f"{self._prefix}-{stream}",
            current_version=version - 1 if version else StreamState.NO_STREAM,
            events=[NewEvent(TOPIC, DATA)],
        )

    def by_recorder(self) -> None:
        """Save as an application does."""
        stream, version = self._next()
        self.recorder.insert_events([StoredEvent(stream, version, TOPIC, DATA)])

    def new_by_recorder(self) -> None:
        """Save a new aggregate."""
        self.recorder.insert_events([StoredEvent(uuid4(), 0, TOPIC, DATA)])

    def named_by_recorder(self) -> None:
        """Save a new aggregate whose ID is made from a name."""
        name = uuid5(NAMESPACE_URL, str(uuid4()))
        self.recorder.insert_events([StoredEvent(name, 0, TOPIC, DATA)])

    def _next(self) -> tuple[str, int]:
        own = self._own
        if not hasattr(own, "numbers"):
            own.stream, own.numbers = str(uuid4()), itertools.count()
        return own.stream, next(own.numbers)


def run(save: Callable[[], None], threads: int, saves: int) -> Round:
    """Save from so many threads; return what it took."""
    latencies: list[float] = []
    begun = threading.Barrier(threads + 1)

    def work() -> None:
        begun.wait()
        for _ in range(saves // threads):
            began = time.perf_counter()
            save()
            latencies.append(time.perf_counter() - began)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    begun.wait()
    cpu, began = time.process_time(), time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu
    return Round(len(latencies) / seconds, cpu / len(latencies) * 1e6, latencies)


WAYS = {
    "the client's own call": Target.by_client,
    "recorder, a call each": Target.by_recorder,
    "recorder, one long call": Target.by_recorder,
    "the same, new aggregates": Target.new_by_recorder,
    "the same, IDs from names": Target.named_by_recorder,
}
CALL_EACH = "recorder, a call each"
LONG = "recorder, one long call"


def measure(target: Target, threads: int, rounds: int, saves: int) -> list[str]:
    """Measure one server in all ways, in turns; return lines to print."""
    taken: dict[str, list[Round]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, method in WAYS.items():
            target.begin()
            # Less than nothing is large: each has a call of its own.
            limit = -1 if way == CALL_EACH else saving.LARGE_BYTES
            with patch.object(saving, "LARGE_BYTES", limit):
                took = run(partial(method, target), threads, saves)
            # The first round warms up.
            if number:
                taken[way].append(took)
    long = taken[LONG]
    lines = [f"\n{target.name}, {threads} thread(s)"]
    for way, took in taken.items():
        ratio = statistics.median(
            a.rate / b.rate for a, b in zip(long, took, strict=True)
        )
        lines.append(
            f"  {way:26}{_median(took, 'rate'):>8,.0f}/s"
            f"{_median(took, 'cpu_us'):>7,.0f} us CPU"
            f"   p50 {_percentile(took, 50):6.2f} ms"
            f"   p99 {_percentile(took, 99):6.2f} ms"
            f"   long/this {ratio:5.2f}"
        )
    return lines


def compare(target: Target, threads: int, saves: int) -> str:
    """Save existing and new aggregates in turns; return what the latter cost."""
    kinds = (Target.by_recorder, Target.new_by_recorder, Target.named_by_recorder)
    taken: dict[Callable[[Target], None], list[float]] = {kind: [] for kind in kinds}
    own = threading.local()

    def save() -> None:
        if not hasattr(own, "turn"):
            own.turn = itertools.count()
        # Each kind comes as often behind each other one.
        turn = next(own.turn)
        kind = kinds[turn % 3 if turn // 3 % 2 else -turn % 3]
        began = time.perf_counter()
        kind(target)
        taken[kind].append(time.perf_counter() - began)

    target.begin()
    run(save, threads, saves)
    existing, new, named = (statistics.median(taken[kind]) for kind in kinds)
    return (
        f"  in turns: a new aggregate costs {new / existing:.2f} times one that "
        f"exists, and with an ID from a name {named / existing:.2f} times"
    )


def _median(rounds: list[Round], name: str) -> float:
    return statistics.median(getattr(each, name) for each in rounds)


def _percentile(rounds: list[Round], percent: int) -> float:
    """Return the median over the rounds of a percentile of their latencies, in ms."""
    return 1e3 * statistics.median(
        sorted(each.latencies)[len(each.latencies) * percent // 100] for each in rounds
    )


def main(uri: str | None, rounds: int, saves: int) -> None:
    """Measure and print."""
    server = "eventsourcing_eventstoredb.server"
    lines: list[str] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="."))
        data = str(Path(folder) / "events.db")
        targets = [
            Target(name, stack.enter_context(listening(*arguments)))
            for name, *arguments in (
                ("bare gRPC server", "benchmarks.bench_server", "--bare"),
                ("embedded server in memory", server, "--port", "0"),
                ("embedded server on disk", server, "--port", "0", "--data", data),
            )
        ]
        if uri:
            targets.append(Target("server at the URI", uri))
        for target in targets:
            stack.callback(target.client.close)
            for threads in THREADS:
                found = measure(target, threads, rounds, saves)
                found.append(compare(target, threads, rounds * saves))
                print("\n".join(found), flush=True)
                lines += found
    write_results("saving", lines)


if __name__ == "__main__":
    parser = new_parser("saving", __doc__)
    options = parser.parse_args()
    if options.quick:
        main(options.uri, 2, SAVES // 4)
    else:
        main(options.uri, ROUNDS, SAVES)
