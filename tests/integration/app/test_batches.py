"""What becomes of batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from eventsourcing.application import Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    Notification,
    Tracking,
)
from eventsourcing.popo import POPOApplicationRecorder

from django_esdb.exceptions import EventProcessingError, UndecodableEventError
from django_esdb.models import ProjectionTracking
from django_esdb.runner import ProjectionRunner
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.runner.batches.reader import BatchReason
from django_esdb.subscriptions.received import ReceivedEvent
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)


class Unprojected(DogAggregate.Event):
    pass


pytestmark = pytest.mark.django_db(transaction=True)


def make_events(names: Sequence[str]) -> list[ReceivedEvent]:
    events = []
    for number, name in enumerate(names, start=1):
        [domain_event] = DogAggregate(name).collect_events()
        notification = Notification(domain_event.originator_id, 0, "topic", b"", number)
        tracking = Tracking("App", number)
        events.append(ReceivedEvent(tracking, notification, domain_event, None))
    return events


def processor(view: TrainingSchoolView | None = None) -> BatchProcessor:
    view = view or TrainingSchoolView("projection")
    return BatchProcessor(TrainingSchoolProjection(view), view, "App")


def do(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def position() -> int | None:
    return ProjectionTracking.objects.get().position


def test_a_batch_is_one_transaction_whose_first_statement_moves_the_position() -> None:
    working = processor()
    with CaptureQueriesContext(connection) as statements:
        working.process(make_events(["Fido", "Rex", "Bella"]))

    sql = [q["sql"] for q in statements.captured_queries]
    assert sql[0].startswith("BEGIN")
    assert sql[1].startswith("UPDATE")
    assert "projectiontracking" in sql[1]
    assert sum("projectiontracking" in s for s in sql) == 1
    assert sum(s.startswith("COMMIT") for s in sql) == 1
    assert (Dog.objects.count(), position()) == (3, 3)


def own_rows() -> Any:
    return ProjectionTracking.objects.filter(projection="projection")


@pytest.mark.parametrize(
    "change",
    [
        lambda: own_rows().delete(),
        lambda: own_rows().update(position=1),
        lambda: own_rows().update(position=None),
        lambda: do("DELETE FROM django_esdb_projectiontracking"),
    ],
    ids=["deleted", "moved back", "reset", "in SQL"],
)
def test_an_event_that_moves_its_own_projection_fails(
    change: Callable[[], object],
) -> None:
    class Moving(TrainingSchoolView):
        def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
            super().register_dog(dog_id, name, tracking)
            if name == "Rex":
                change()

    with pytest.raises(EventProcessingError, match="position of its own projection"):
        processor(Moving("projection")).process(make_events(["Fido", "Rex", "Bella"]))

    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]
    assert position() == 1


def test_an_event_may_change_what_is_said_of_other_projections() -> None:
    class Moving(TrainingSchoolView):
        def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
            super().register_dog(dog_id, name, tracking)
            ProjectionTracking.objects.exclude(projection="projection").delete()
            own_rows().update(rebuild_requested_by="Rex")

    ProjectionTracking.objects.create(projection="other", application="App")

    processor(Moving("projection")).process(make_events(["Fido", "Rex"]))

    assert position() == 2


def test_an_event_that_fails_is_named_and_those_before_it_are_kept() -> None:
    class Failing(TrainingSchoolView):
        def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
            super().register_dog(dog_id, name, tracking)
            if name == "Bella":
                raise ZeroDivisionError

    with pytest.raises(EventProcessingError, match=r"position 3: ZeroDivisionError"):
        processor(Failing("projection")).process(
            make_events(["Fido", "Rex", "Bella", "Max"])
        )

    assert sorted(d.name for d in Dog.objects.all()) == ["Fido", "Rex"]
    assert position() == 2
    assert SchoolCounts.objects.get().dogs == 2


def test_what_the_database_refuses_at_the_end_is_found_by_event() -> None:
    events = make_events(["Fido", "Rex", "Fido", "Max"])

    with pytest.raises(EventProcessingError, match=r"position 3: \w*IntegrityError"):
        processor().process(events)

    assert position() == 2


def test_a_field_that_is_too_long_is_found_by_event() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite takes texts of any length")
    with pytest.raises(EventProcessingError, match=r"position 2: \w*DataError"):
        processor().process(make_events(["Fido", "x" * 300, "Rex"]))

    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]


def test_a_row_that_is_not_there_is_found_by_event() -> None:
    dog = DogAggregate("Rex")
    dog.add_trick("sit")
    trick = dog.collect_events()[1]
    events = make_events(["Fido"])
    notification = Notification(trick.originator_id, 1, "topic", b"", 2)
    events.append(ReceivedEvent(Tracking("App", 2), notification, trick, None))

    with pytest.raises(EventProcessingError, match=r"position 2: DoesNotExist: Dog"):
        processor().process(events)

    assert position() == 1


def test_an_undecodable_event_is_not_processed() -> None:
    notification = Notification(uuid4(), 4, "gone:Event", b"", 9)
    event = ReceivedEvent(
        Tracking("App", 9), notification, None, ValueError("no\nJSON")
    )

    with pytest.raises(UndecodableEventError, match="version 4, position 9: no JSON"):
        processor().process([event])

    assert position() is None


def test_two_runners_with_overlapping_batches_apply_each_event_once() -> None:
    events = make_events([f"dog {number}" for number in range(20)])
    first, second = processor(), processor()

    first.process(events[:10])
    with pytest.raises(Exception, match="another process is running it"):
        second.process(events[:15])
    restarted = processor()
    assert restarted.position == 10
    restarted.process(events[10:15])
    with pytest.raises(Exception, match="another process is running it"):
        first.process(events[10:])
    processor().process(events[15:])

    assert Dog.objects.count() == SchoolCounts.objects.get().dogs == 20
    assert position() == 20


def test_a_connection_that_is_lost_in_a_batch_leaves_nothing() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection to lose")

    class Losing(TrainingSchoolView):
        lost = False

        def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
            super().register_dog(dog_id, name, tracking)
            if name == "Rex" and not self.lost:
                self.lost = True
                kill_connection()

    events = make_events(["Fido", "Rex", "Bella"])
    view = Losing("projection")
    with pytest.raises(Exception) as raised:  # noqa: PT011  (each driver has its own)
        processor(view).process(events)
    assert not isinstance(raised.value, EventProcessingError)
    connection.close()
    assert (Dog.objects.count(), position()) == (0, None)

    again = processor(view)
    again.process(events)
    assert (Dog.objects.count(), position()) == (3, 3)


def kill_connection() -> None:
    """Have the server end this thread's connection, from another one."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_backend_pid()")
            kill = "SELECT pg_terminate_backend(%s)"
        else:
            cursor.execute("SELECT connection_id()")
            kill = "KILL %s"
        [number] = cursor.fetchone()

    def end() -> None:
        with connection.cursor() as cursor:
            cursor.execute(kill, [number])
        connection.close()

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()


def test_a_lone_live_event_is_committed_at_once(
    school: TrainingSchool, school_projection: Any, settings: Any
) -> None:
    settings.ESDB_BATCH_SECONDS = 60
    with ProjectionRunner(
        application_class=TrainingSchool,
        projection_class=TrainingSchoolProjection,
        view_class=TrainingSchoolView,
        env=school_projection.env(),
    ) as runner:
        runner.wait(school.register("Fido"), timeout=30)
        runner.wait(school.register("Rex"), timeout=30)
        assert runner.batch_reasons[BatchReason.AGE] == 0

    assert Dog.objects.count() == 2


def test_position_moves_past_what_is_not_the_projections(
    school: TrainingSchool, school_projection: Any, server: EmbeddedServer
) -> None:
    class Other(Application[UUID]):
        pass

    other = Other(
        {
            "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
            "EVENTSTOREDB_URI": server.uri,
        }
    )
    school.register("Fido")
    with ProjectionRunner(
        application_class=TrainingSchool,
        projection_class=TrainingSchoolProjection,
        view_class=TrainingSchoolView,
        env=school_projection.env(),
    ) as runner:
        foreign = DogAggregate("Other")
        foreign.trigger_event(Unprojected)
        [*_, recording] = other.save(foreign)
        runner.wait(recording.notification.id, timeout=30)
    other.close()

    assert position() >= recording.notification.id
    assert Dog.objects.count() == 2


def test_a_projection_may_say_which_rows_an_event_needs() -> None:
    view = TrainingSchoolView("projection")
    asked: list[Any] = []

    class Saying(TrainingSchoolProjection):
        def row_keys(self, model: Any, domain_event: Any) -> list[Any]:
            asked.append((model, domain_event.name))
            return [domain_event.originator_id]

    Dog.objects.create(id=DogAggregate.create_id("x"), name="x")
    working = BatchProcessor(Saying(view), view, "App")
    events = make_events(["Fido", "Rex"])
    with view.batch("App", None, 2, lambda m: working._keys_of(m, events)):
        view.rows(Dog).get_or_none(events[0].notification.originator_id)

    assert asked == [(Dog, "Fido"), (Dog, "Rex")]


def test_the_recorder_in_memory_is_read_too() -> None:
    recorder = POPOApplicationRecorder()

    class School(TrainingSchool):
        name = "School"

        def construct_recorder(self) -> ApplicationRecorder:
            return recorder

    env = {
        "PERSISTENCE_MODULE": "eventsourcing.popo",
        "TRAININGSCHOOLPROJECTION_PERSISTENCE_MODULE": "django_esdb.persistence",
    }
    school = School(env)
    for number in range(20):
        school.register(f"dog {number}")
    with ProjectionRunner(
        application_class=School,
        projection_class=TrainingSchoolProjection,
        view_class=TrainingSchoolView,
        env=env,
        batch_size=7,
    ) as runner:
        runner.wait(20, timeout=30)
        runner.wait(school.register("last"), timeout=30)

    assert Dog.objects.count() == 21
