"""
How fast events are saved, over one long call and by a call for each save.

    python -m benchmarks.bench_saving [--quick] [--uri URI] [--server NAME]
        [--threads NUMBER]

The same saves are made in several ways, in turns, so that whatever else the machine
does meets each: by the client library's own call, by this package's recorder with a
call for each save, and by the recorder as it is, over one long call. From one thread
and from 16, which share one client. The servers run in processes of their own: a bare
gRPC server that answers each batch at once, so that the client is what is measured, and
the embedded server, in memory and on disk. A server that runs, named by its URI, is
measured as well.

CPU is that of this process, the client's. The ratio is that of the saves over the long
call to the line's: so often as many. Of the ratios of all turns it is the middle: the
median of the means of any two of them. What follows the ± is how far it would be off in
one of three measurements.

What the first save of a new aggregate costs is found by short runs in turns: of saves
of aggregates that exist, of new ones whose IDs are random, of new ones whose IDs are
made from names, and of such that were looked for before, as one does who gets an
aggregate or else makes it. All save one event with the same type and data, and no
metadata; only its number differs. Within a turn each thread makes ten saves of one
kind, then of another, and so on. Each kind is compared with those that exist, turn by
turn, by the median of what a save took and by the CPU of all.

A thread saves to one aggregate that exists, again and again. To save each time to
another one costs the same: where a stream ends is known by heart.

At last 16 threads save to the embedded server on disk, as it is and with a transaction
for each save: on this machine's disk, whose sync is measured, and with a sync that
takes 2 ms longer, since the disks of many virtual machines sync at once and a real one
takes from 1 ms to 10. Ratios count; figures vary with the machine.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from eventsourcing_eventstoredb.protocol import saving
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.streams.mapping import Layout

# Many short rounds, since what else the machine does changes from second to second.
SAVES = 640
ROUNDS = 20
TURNS = 120
SAVES_IN_A_TURN = 160
SAVES_OF_A_THREAD = 30
# A kind of aggregates does not have the machine to itself for longer than a moment.
SAVES_AT_ONCE = 10
WARMING_TURNS = 2
_EMBEDDED = ("eventsourcing_eventstoredb.server", "--port", "0")
SERVERS = {
    "bare": ("bare gRPC server", ("benchmarks.bench_server", "--bare")),
    "memory": ("embedded server in memory", _EMBEDDED),
    "disk": ("embedded server on disk", _EMBEDDED),
}
THREADS = (1, 16)
# Milliseconds that a disk's sync takes longer.
SYNC_MS = 2
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

    def _next(self) -> tuple[str, int]:
        own = self._own
        if not hasattr(own, "numbers"):
            own.stream, own.numbers = str(uuid4()), itertools.count()
        return own.stream, next(own.numbers)


def run(save: Callable[[], None], threads: int, saves: int) -> Round:
    """Save from so many threads; return what it took."""
    return run_all([[save] * (saves // threads)] * threads)


def run_all(works: Sequence[Sequence[Callable[[], object]]]) -> Round:
    """Save what there is for each thread, one after the other; return what it took."""
    latencies: list[float] = []
    begun = threading.Barrier(len(works) + 1)

    def work(saves: Sequence[Callable[[], object]]) -> None:
        begun.wait()
        for save in saves:
            began = time.perf_counter()
            save()
            latencies.append(time.perf_counter() - began)

    workers = [threading.Thread(target=work, args=(saves,)) for saves in works]
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
}
CALL_EACH = "recorder, a call each"
LONG = "recorder, one long call"


def measure(target: Target, threads: int, rounds: int, saves: int) -> list[str]:
    """Measure one server in all ways, in turns; return lines to print."""
    taken: dict[str, list[Round]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way in random.sample(list(WAYS), len(WAYS)):
            target.begin()
            # Less than nothing is large: each has a call of its own.
            limit = -1 if way == CALL_EACH else saving.LARGE_BYTES
            with patch.object(saving, "LARGE_BYTES", limit):
                took = run(partial(WAYS[way], target), threads, saves)
            # The first round warms up.
            if number:
                taken[way].append(took)
    long = taken[LONG]
    lines = [f"\n{target.name}, {threads} thread(s)"]
    for way, rounds_of in taken.items():
        ratio = _typical(
            [a.rate / b.rate for a, b in zip(long, rounds_of, strict=True)]
        )
        lines.append(
            f"  {way:26}{_median(rounds_of, 'rate'):>8,.0f}/s"
            f"{_median(rounds_of, 'cpu_us'):>7,.0f} us CPU"
            f"   p50 {_percentile(rounds_of, 50):6.2f} ms"
            f"   p99 {_percentile(rounds_of, 99):6.2f} ms"
            f"   long/this {ratio}"
        )
    return lines


def compare(target: Target, threads: int, turns: int) -> list[str]:
    """Save existing and new aggregates in turns; return what the latter cost."""
    kinds: dict[str, Callable[[Target, int], list[StoredEvent]]] = {
        "exist": existing,
        "new, random ID": new,
        "new, ID from a name": named,
        "the same, looked for": looked_for,
    }
    taken: dict[str, list[Round]] = {kind: [] for kind in kinds}
    each = max(SAVES_IN_A_TURN // threads, SAVES_OF_A_THREAD)
    with ThreadPoolExecutor(threads) as preparing:
        for turn in range(turns + WARMING_TURNS):
            # Before all, since what was done before is no part of what a save costs.
            works = {
                kind: list(preparing.map(events, [target] * threads, [each] * threads))
                for kind, events in kinds.items()
            }
            parts: dict[str, list[Round]] = {kind: [] for kind in kinds}
            for first in range(0, each, SAVES_AT_ONCE):
                few = slice(first, first + SAVES_AT_ONCE)
                # In any order, since each feels what the one before has left.
                for kind in random.sample(list(kinds), len(kinds)):
                    part = [_saves(target, work[few]) for work in works[kind]]
                    parts[kind].append(run_all(part))
            if turn >= WARMING_TURNS:
                for kind, rounds in parts.items():
                    taken[kind].append(_together(rounds))
    lines = ["  in turns, aggregates that"]
    for kind, rounds in taken.items():
        pairs = list(zip(rounds, taken["exist"], strict=True))
        latency = _typical([_middle(a) / _middle(b) for a, b in pairs])
        cpu = _typical([a.cpu_us / b.cpu_us for a, b in pairs])
        lines.append(
            f"    {kind:24}p50 {_percentile(rounds, 50):6.2f} ms"
            f"{_median(rounds, 'cpu_us'):>7,.0f} us CPU"
            f"   times one that exists: {latency}, CPU {cpu}"
        )
    return lines


def _saves(target: Target, events: list[StoredEvent]) -> list[Callable[[], object]]:
    return [partial(target.recorder.insert_events, [event]) for event in events]


def _together(rounds: Sequence[Round]) -> Round:
    return Round(
        statistics.fmean(each.rate for each in rounds),
        statistics.fmean(each.cpu_us for each in rounds),
        [latency for each in rounds for latency in each.latencies],
    )


def existing(target: Target, count: int) -> list[StoredEvent]:
    """Begin an aggregate; return events to save next, one by one."""
    name = uuid4()
    target.recorder.insert_events([StoredEvent(name, 0, TOPIC, DATA)])
    return [StoredEvent(name, number + 1, TOPIC, DATA) for number in range(count)]


def new(target: Target, count: int) -> list[StoredEvent]:
    """Return first events of aggregates whose IDs are random."""
    return [StoredEvent(uuid4(), 0, TOPIC, DATA) for _ in range(count)]


def named(target: Target, count: int) -> list[StoredEvent]:
    """Return first events of aggregates whose IDs are made from names."""
    return [
        StoredEvent(uuid5(NAMESPACE_URL, str(uuid4())), 0, TOPIC, DATA)
        for _ in range(count)
    ]


def looked_for(target: Target, count: int) -> list[StoredEvent]:
    """Return the same when these aggregates were looked for, and none was found."""
    events = named(target, count)
    for event in events:
        target.recorder.select_events(event.originator_id)
    return events


def compare_commits(name: str, folder: Path, rounds: int, sync_ms: float) -> list[str]:
    """Save from 16 threads with and without group commit, in turns."""
    server = "benchmarks.support.disk_server"
    pairs: list[list[Round]] = []
    with ExitStack() as stack:
        targets = []
        for number, options in enumerate(([], ["--ungrouped"])):
            data = str(folder / f"commits-{sync_ms}-{number}.db")
            arguments = ("--sync-ms", str(sync_ms), "--port", "0", "--data", data)
            uri = stack.enter_context(listening(server, *options, *arguments))
            targets.append(Target(server, uri))
            stack.callback(targets[-1].client.close)
        for _ in range(rounds + 1):
            pair = []
            for target in targets:
                target.begin()
                pair.append(run(target.by_recorder, max(THREADS), SAVES))
            pairs.append(pair)
    ratio = _typical([a.rate / b.rate for a, b in pairs[1:]])
    with_it, without = (_median(rounds, "rate") for rounds in zip(*pairs, strict=True))
    return [
        f"\n{name}, {max(THREADS)} threads",
        f"  group commit              {with_it:>8,.0f}/s",
        f"  a transaction for each    {without:>8,.0f}/s   group/this {ratio}",
    ]


def _sync_ms(folder: Path) -> float:
    """Return how many ms the disk takes until it has a page that was written."""
    taken = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def _typical(ratios: Sequence[float]) -> str:
    """Return the middle of ratios of turns, with how far it may be off."""
    # Nearly as firm against turns that were disturbed as the median, and less far off.
    middle = _middle_of_means(ratios)
    resampled = [
        _middle_of_means(random.choices(ratios, k=len(ratios))) for _ in range(40)
    ]
    return f"{middle:.2f} ± {statistics.stdev(resampled):.2f}"


def _middle_of_means(ratios: Sequence[float]) -> float:
    pairs = itertools.combinations_with_replacement(ratios, 2)
    return statistics.median((a + b) / 2 for a, b in pairs)


def _middle(each: Round) -> float:
    return statistics.median(each.latencies)


def _median(rounds: Sequence[Round], name: str) -> float:
    return statistics.median(getattr(each, name) for each in rounds)


def _percentile(rounds: list[Round], percent: int) -> float:
    """Return the median over the rounds of a percentile of their latencies, in ms."""
    return 1e3 * statistics.median(
        sorted(each.latencies)[len(each.latencies) * percent // 100] for each in rounds
    )


def main(
    uri: str | None,
    rounds: int,
    saves: int,
    turns: int,
    only_server: str | None,
    only_threads: int | None,
) -> None:
    """Measure and print."""
    lines: list[str] = []
    counts = [only_threads] if only_threads else THREADS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        data = ["--data", str(folder / "events.db")]
        targets = [
            Target(
                SERVERS[key][0], stack.enter_context(listening(*SERVERS[key][1], *more))
            )
            for key, more in (("bare", []), ("memory", []), ("disk", data))
            if only_server in (None, key)
        ]
        if uri:
            targets.append(Target("server at the URI", uri))
        for target in targets:
            stack.callback(target.client.close)
            for threads in counts:
                found = measure(target, threads, rounds, saves)
                found += compare(target, threads, turns)
                print("\n".join(found), flush=True)
                lines += found
        disk = f"embedded server on disk, a sync of {_sync_ms(folder):.2f} ms"
        for name, sync_ms in ((disk, 0), (f"the same, {SYNC_MS} ms longer", SYNC_MS)):
            if only_server or only_threads:
                break
            found = compare_commits(name, folder, rounds, sync_ms)
            print("\n".join(found), flush=True)
            lines += found
    write_results("saving", lines)


if __name__ == "__main__":
    parser = new_parser("saving", __doc__)
    parser.add_argument("--server", choices=SERVERS, help="measure with this one alone")
    parser.add_argument(
        "--threads", type=int, choices=THREADS, help="save from so many alone"
    )
    options = parser.parse_args()
    full = (ROUNDS, SAVES, TURNS)
    main(
        options.uri,
        *((ROUNDS // 2, SAVES, TURNS // 3) if options.quick else full),
        options.server,
        options.threads,
    )
