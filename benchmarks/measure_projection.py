"""One measurement of a projection, in a process of its own; prints JSON."""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4, uuid5

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.models import F  # noqa: E402
from eventsourcing.application import Application  # noqa: E402
from eventsourcing.persistence import (  # noqa: E402
    ApplicationRecorder,
    Notification,
    StoredEvent,
    Subscription,
    Tracking,
)
from eventsourcing.popo import POPOApplicationRecorder  # noqa: E402
from eventsourcing.projection import ProjectionRunner as LibraryRunner  # noqa: E402

from benchmarks.support.client_library import (  # noqa: E402
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from benchmarks.support.event_stores import event_store, new_prefix  # noqa: E402
from django_esdb.recorders import DjangoTrackingRecorder  # noqa: E402
from django_esdb.runner import ProjectionRunner  # noqa: E402
from django_esdb.runner.garbage import expect_many_objects  # noqa: E402
from example_project.training_school import models  # noqa: E402
from example_project.training_school.application import TrainingSchool  # noqa: E402
from example_project.training_school.domain import Dog  # noqa: E402
from example_project.training_school.projections import (  # noqa: E402
    TrainingSchoolProjection,
    TrainingSchoolViewInterface,
)

DOGS_AT_A_TIME = 50
TRICKS = 9
NAMESPACE = UUID(int=0)


def stored_events() -> Iterator[StoredEvent]:
    """Yield the stored form of the dogs' events, without end."""
    app = TrainingSchool({"PERSISTENCE_MODULE": "eventsourcing.popo"})
    sample = Dog("Fido of the training school")
    sample.add_trick("roll over and play dead")
    registered, trick = map(app.mapper.to_stored_event, sample.collect_events())
    for first in itertools.count(0, DOGS_AT_A_TIME):
        ids = [uuid5(NAMESPACE, str(n)) for n in range(first, first + DOGS_AT_A_TIME)]
        for version in range(TRICKS + 1):
            kind = trick if version else registered
            for originator_id in ids:
                yield StoredEvent(originator_id, version, kind.topic, kind.state)


class OrmView(DjangoTrackingRecorder, TrainingSchoolViewInterface):
    """The view with the plain ORM."""

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            models.Dog.objects.create(id=dog_id, name=name)
            self._count(dogs=F("dogs") + 1)

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            dog = models.Dog.objects.get(id=dog_id)
            dog.tricks.append(trick)
            dog.save(update_fields=["tricks"])
            self._count(tricks=F("tricks") + 1)

    def _count(self, **amounts: Any) -> None:
        models.SchoolCounts.objects.filter(id=1).update(**amounts)


class CountView(OrmView):
    """Only counts, as the smallest useful view does."""

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self._count(dogs=F("dogs") + 1)

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self._count(tricks=F("tricks") + 1)


class RowsView(DjangoTrackingRecorder, TrainingSchoolViewInterface):
    """The same with the unit of work."""

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(models.Dog).add(models.Dog(id=dog_id, name=name))
            self.rows(models.SchoolCounts).increment(1, dogs=1)

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(models.Dog).get(dog_id).tricks.append(trick)
            self.rows(models.SchoolCounts).increment(1, tricks=1)


class BenchProjection(TrainingSchoolProjection):
    name = "Bench"


def popo_application(count: int) -> type[Application[UUID]]:
    """Return the school on the library's recorder in memory, with events in it."""
    recorder = POPOApplicationRecorder()
    recorder.insert_events(list(itertools.islice(stored_events(), count)))

    class School(TrainingSchool):
        name = "TrainingSchool"

        def construct_recorder(self) -> ApplicationRecorder:
            return recorder

    return School


class Endless(Subscription[Any]):
    """Notifications that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        super().__init__(recorder=None)
        events = itertools.islice(stored_events(), count)
        self._source = (
            Notification(e.originator_id, e.originator_version, e.topic, e.state, n)
            for n, e in enumerate(events, start=1)
        )
        self._stopped = threading.Event()

    def next_batch(self, max_events: int) -> list[Notification]:
        batch = list(itertools.islice(self._source, max_events))
        if not batch:
            self._stopped.wait()
        return batch

    def __next__(self) -> Notification:
        raise NotImplementedError

    def stop(self) -> None:
        super().stop()
        self._stopped.set()


def endless_application(count: int) -> type[Application[UUID]]:
    class Recorder(POPOApplicationRecorder):
        def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Any:
            return Endless(count)

    class School(TrainingSchool):
        name = "TrainingSchool"

        def construct_recorder(self) -> ApplicationRecorder:
            return Recorder()

    return School


def timed(runner: Any, count: int, last: int | None = None) -> dict[str, float]:
    """
    Wait until a runner has processed so many events; return rate and CPU.

    What it takes to start, such as importing modules, is not of the rate.

    Args:
        runner: The runner, just started.
        count: How many events there are.
        last: Position of the last one; None if they are numbered from 1 on.

    Raises:
        Exception: What ended the runner before.
    """
    begun = time.perf_counter()
    cpu = time.process_time()
    while runner.view.max_tracking_id("TrainingSchool") is None:
        if runner.is_interrupted.wait(0.002):
            break
    # Raises what has ended the runner, if it did not come so far.
    runner.wait(count if last is None else last, timeout=600)
    seconds = time.perf_counter() - begun
    return {
        "rate": count / seconds,
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
    }


def ours(
    application: type[Any], view: type[Any], size: int, env: dict[str, str]
) -> ProjectionRunner:
    return ProjectionRunner(
        application_class=application,
        projection_class=BenchProjection,
        view_class=view,
        env={"BENCH_PERSISTENCE_MODULE": "django_esdb.persistence", **env},
        batch_size=size,
    )


def measure_runner(way: str, size: int, events: int) -> dict[str, float]:
    view = {"rows": RowsView, "orm": OrmView, "count": CountView}[way]
    models.SchoolCounts.objects.create(id=1)
    application = popo_application(events)
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    with ours(application, view, size, env) as runner:
        measured = timed(runner, events)
    check(events, has_dogs=way != "count")
    return measured


def environment(uri: str) -> dict[str, str]:
    """Return an application's on a store, with streams of this measurement alone."""
    return {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": uri,
        "EVENTSTOREDB_STREAM_PREFIX": new_prefix(),
    }


def fill(env: dict[str, str], events: int, foreign: int = 0) -> int:
    """Append the dogs' events, and as many others after each; return the last's."""
    client = EventStoreDBClient(env["EVENTSTOREDB_URI"])
    prefix = env["EVENTSTOREDB_STREAM_PREFIX"]
    streams: dict[UUID, list[NewEvent]] = {}
    last = 0
    for event in itertools.islice(stored_events(), events):
        stream = streams.setdefault(event.originator_id, [])
        stream.append(NewEvent(event.topic, event.state))
    for originator_id, new in streams.items():
        last = client.append_events(
            f"{prefix}-{originator_id}",
            current_version=StreamState.NO_STREAM,
            events=new,
        )
        if foreign:
            others = [NewEvent("other:Event", b"{}") for _ in range(foreign * len(new))]
            client.append_events(
                f"{prefix}-{uuid4()}",
                current_version=StreamState.NO_STREAM,
                events=others,
            )
    client.close()
    return last


def measure_store(
    way: str, size: int, events: int, uri: str | None
) -> dict[str, float]:
    """From a server in a process of its own, or from one that runs."""
    with event_store(uri) as uri:
        env = environment(uri)
        last = fill(env, events)
        models.SchoolCounts.objects.create(id=1)
        with ours(TrainingSchool, RowsView, size, env) as runner:
            measured = timed(runner, events, last)
        check(events)
    return measured


def measure_sparse(
    way: str, size: int, events: int, uri: str | None
) -> dict[str, float]:
    """One event in a thousand is the projection's; the position passes the rest."""
    with event_store(uri) as uri:
        env = environment(uri)
        fill(env, events // 1000, foreign=999)
        models.SchoolCounts.objects.create(id=1)
        school = TrainingSchool(env)
        head = school.recorder.select_notifications(None, 10**9)[-1].id
        begun = time.perf_counter()
        for _ in school.recorder.select_notifications(None, 10**9):
            pass
        reading = time.perf_counter() - begun
        begun = time.perf_counter()
        with ours(TrainingSchool, RowsView, size, env) as runner:
            runner.wait(head, timeout=600)
            seconds = time.perf_counter() - begun
        check(events // 1000)
        school.close()
    return {"rate": events / seconds, "reading": events / reading}


def measure_memory(way: str, size: int, events: int) -> dict[str, float]:
    models.SchoolCounts.objects.create(id=1)
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    with ours(endless_application(events), RowsView, size, env) as runner:
        timed(runner, events)
    check(events)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mb": peak / 1024}


def measure_latency(
    way: str, size: int, events: int, uri: str | None
) -> dict[str, float]:
    with _embedded_or_at(uri) as uri:
        env = environment(uri)
        school = TrainingSchool(env)
        view = RowsView("Bench")
        times = []
        with ours(TrainingSchool, RowsView, size, env) as runner:
            runner.wait(school.register("first"), timeout=30)
            for number in range(events):
                begun = time.perf_counter()
                view.wait(school.name, school.register(f"dog {number}"), timeout=30)
                times.append((time.perf_counter() - begun) * 1000)
                time.sleep(0.01)
        school.close()
    quantiles = statistics.quantiles(times, n=100)
    return {"p50": quantiles[49], "p99": quantiles[98]}


@contextmanager
def _embedded_or_at(uri: str | None) -> Iterator[str]:
    """Yield the URI of a server in this process, or of one that runs."""
    from eventsourcing_eventstoredb.server import EmbeddedServer

    if uri:
        yield uri
        return
    with EmbeddedServer() as server:
        yield server.uri


def measure_peer(way: str, size: int, events: int) -> dict[str, float]:
    """The library's runner with a view on its own PostgreSQL recorder."""
    from django.conf import settings
    from eventsourcing.postgres import PostgresTrackingRecorder
    from psycopg.sql import SQL

    class PeerView(PostgresTrackingRecorder, TrainingSchoolViewInterface):
        def __init__(self, datastore: Any, **kwargs: Any) -> None:
            super().__init__(datastore, **kwargs)
            self.sql_create_statements += [
                SQL(
                    "CREATE TABLE IF NOT EXISTS peer_dog "
                    "(id uuid PRIMARY KEY, name text NOT NULL, tricks jsonb NOT NULL)"
                ),
                SQL(
                    "CREATE TABLE IF NOT EXISTS peer_counts (id int PRIMARY KEY, "
                    "dogs int NOT NULL, tricks int NOT NULL)"
                ),
                SQL("INSERT INTO peer_counts VALUES (1, 0, 0) ON CONFLICT DO NOTHING"),
            ]

        def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
            with self.datastore.transaction(commit=True) as curs:
                curs.execute(
                    "INSERT INTO peer_dog VALUES (%s, %s, '[]')", (dog_id, name)
                )
                curs.execute("UPDATE peer_counts SET dogs = dogs + 1 WHERE id = 1")
                self._insert_tracking(curs, tracking)

        def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
            with self.datastore.transaction(commit=True) as curs:
                curs.execute(
                    "UPDATE peer_dog SET tricks = tricks || to_jsonb(%s::text) "
                    "WHERE id = %s",
                    (trick, dog_id),
                )
                curs.execute("UPDATE peer_counts SET tricks = tricks + 1 WHERE id = 1")
                self._insert_tracking(curs, tracking)

    database = settings.DATABASES["default"]
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.popo",
        "BENCH_PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(database["NAME"]),
        "POSTGRES_HOST": database["HOST"] or "/var/run/postgresql",
        "POSTGRES_PORT": str(database["PORT"] or 5432),
        "POSTGRES_USER": database["USER"] or _user(),
        "POSTGRES_PASSWORD": database["PASSWORD"] or "",
    }
    with LibraryRunner(
        application_class=popo_application(events),
        projection_class=BenchProjection,
        view_class=PeerView,
        env=env,
    ) as runner:
        return timed(runner, events)


def _user() -> str:
    import getpass

    return getpass.getuser()


def check(events: int, *, has_dogs: bool = True) -> None:
    """A measurement of something that is wrong is none."""
    counts = models.SchoolCounts.objects.get()
    assert counts.dogs + counts.tricks == events, counts
    if has_dogs:
        assert sum(len(tricks) for tricks in _tricks()) == counts.tricks


def _tricks() -> Iterator[list[str]]:
    return models.Dog.objects.values_list("tricks", flat=True).iterator()


def main() -> None:
    what = json.loads(sys.argv[1])
    call_command("migrate", verbosity=0)
    if what["way"] != "peer":
        # As runprojections does, whose process is its own, too.
        expect_many_objects()
    measure = {
        "peer": measure_peer,
        "store": measure_store,
        "sparse": measure_sparse,
        "latency": measure_latency,
        "memory": measure_memory,
    }.get(what["way"], measure_runner)
    print(json.dumps(measure(**what)))
    connections.close_all()


if __name__ == "__main__":
    main()
