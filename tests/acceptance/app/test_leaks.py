"""Nothing grows while projections run for long; benchmarks do it for longer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_esdb.registry import Registration
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.storage import heads
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.connections import kill_connections
from tests.support.footprint import Footprint
from tests.support.projects import Project
from tests.support.proxy import Proxy
from tests.support.stores import school_at
from tests.support.supervising import running, tracking, wait_until
from tests.support.workers import is_sqlite, worker

RECONNECTIONS = 30
# Of what comes and goes at any time; a leak would be one for each reconnection.
FEW = 8


@pytest.mark.slow("connects again often enough for leaks to be seen")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_reconnections_leave_no_threads_and_descriptors_behind(
    project: Project, server: EmbeddedServer
) -> None:
    url = project.env["DATABASE_URL"]
    with (
        Proxy(server) as proxy,
        school_at(server) as school,
        worker(project_at(project, proxy)) as this,
    ):

        def process_one() -> None:
            last = school.register(f"dog {next(numbers)}")
            wait_until(lambda: (project.position() or 0) >= last, "it is not processed")

        numbers = iter(range(10 * RECONNECTIONS))
        for number in range(RECONNECTIONS + 5):
            if number == 5:
                # Pools of threads have been filled by now.
                before = Footprint.of(this.process.pid)
            proxy.cut()
            if number % 3 == 0 and not is_sqlite(project):
                kill_connections(url)
            process_one()

        def has_grown() -> bool:
            now = Footprint.of(this.process.pid)
            return (
                now.threads > before.threads + FEW
                or now.descriptors > before.descriptors + FEW
            )

        wait_until(lambda: not has_grown(), f"more than {before}")
        assert this.terminate() == 0


@pytest.fixture
def _untraced() -> Iterator[None]:
    """Keep what measures coverage from keeping something for each thread."""
    trace = threading.gettrace()
    threading.settrace(None)  # type: ignore[arg-type]
    yield
    threading.settrace(trace)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_untraced")
@pytest.mark.slow("processes enough events for leaks to be seen")
@pytest.mark.django_db(transaction=True)
def test_events_leave_no_objects_behind(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server, if it is in this process, knows so many streams by heart, and no more.
    monkeypatch.setattr(heads, "MOST_HEADS", 10)

    def process(count: int) -> int:
        """Process so many events; return how many objects there are then."""
        for _ in range(count // 10):
            dog = Dog(f"dog {next(numbers)}")
            for trick in range(9):
                dog.add_trick(f"trick {trick}")
            last = school.save(dog)[-1].notification.id
        del dog
        wait_until(lambda: (tracking().position or 0) >= last)
        gc.collect()
        return len(gc.get_objects())

    numbers = iter(range(1_000_000))
    with running(school_projection, batch_size=50) as this:
        process(1000)
        before = process(1000)
        for _ in range(4):
            after = process(1000)
        assert this.error is None

    # Not one for ten events.
    assert after - before < 400


def project_at(project: Project, proxy: Proxy) -> Project:
    return Project({**project.env, "EVENTSTOREDB_URI": proxy.uri})
