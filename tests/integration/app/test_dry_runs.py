"""What events would change, found by processing them and undoing it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models, transaction
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.debugging.dry_run import DryRun, EventRun
from django_esdb.debugging.events import Choice
from django_esdb.debugging.time_limits import TimeLimit
from django_esdb.exceptions import ConfigurationError, DryRunError
from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.failed_events import MakeRegistration
from tests.support.rows_app.models import Animal, Counter, Owner, Visit
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Act = Callable[[Any, Tracking], object]
Tried = Callable[[Act], EventRun]


class ActingView(TrainingSchoolView):
    """Does what a test wants."""

    read_models = (Dog, SchoolCounts)
    act: Act

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            ActingView.act(self, tracking)


def dog_id(name: str = "Fido") -> str:
    return str(DogAggregate.create_id(name))


def runs(
    registration: Registration,
    aggregate: str = "",
    start: int | None = None,
    only: int | None = None,
    **options: Any,
) -> list[EventRun]:
    choice = Choice(aggregate or ("" if only else dog_id()), start, only)
    return list(DryRun(registration, choice, **options).run())


@pytest.fixture
def tried(school: TrainingSchool, registration: MakeRegistration) -> Tried:
    """Process an event that does something, and undo it."""
    acting = registration(view_class=ActingView)
    school.register("Fido")
    position = school.add_trick("Fido", "sit")

    def tried(act: Act, **options: Any) -> EventRun:
        ActingView.act = staticmethod(act)  # type: ignore[assignment]
        (run,) = runs(acting, only=position, **options)
        return run

    return tried


def changed(run: EventRun) -> list[tuple[str, Any, Any, Any]]:
    assert run.error == ""
    return [(each.model, each.pk, each.before, each.after) for each in run.changes]


def test_each_event_has_what_it_changes_on_what_those_before_have_left(
    school: TrainingSchool, school_projection: Registration
) -> None:
    positions = [school.register("Fido"), school.add_trick("Fido", "sit")]
    pk = UUID(dog_id())

    first, second = runs(school_projection)

    assert [first.position, second.position] == positions
    assert first.topic.endswith(":Dog.Registered")
    new = {"id": pk, "name": "Fido", "tricks": []}
    counts = {"id": 1, "dogs": 1, "tricks": 0}
    assert changed(first) == [
        ("training_school.Dog", pk, None, new),
        ("training_school.SchoolCounts", 1, None, counts),
    ]
    assert changed(second) == [
        ("training_school.Dog", pk, new, new | {"tricks": ["sit"]}),
        ("training_school.SchoolCounts", 1, counts, counts | {"tricks": 1}),
    ]
    assert first.notes == second.notes == ()
    assert 0 < first.seconds < 60


def test_nothing_is_left(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")

    assert len(runs(school_projection)) == 1

    assert not Dog.objects.exists()
    assert not SchoolCounts.objects.exists()
    assert not ProjectionTracking.objects.exists()
    assert not connection.in_atomic_block


def test_positions_and_failed_events_stay(
    school: TrainingSchool, parked: list[FailedEvent]
) -> None:
    before = list(ProjectionTracking.objects.values())
    failed = list(FailedEvent.objects.values())

    (run,) = runs(registry.get("Picky"), only=parked[0].position)

    assert run.error == "RuntimeError: cannot burn <b>at all</b>"
    assert run.traceback.splitlines()[-1] == run.error
    assert "failed_events.py" in run.traceback
    assert run.changes == ()
    assert list(ProjectionTracking.objects.values()) == before
    assert list(FailedEvent.objects.values()) == failed


def test_what_comes_after_a_failure_is_processed_without_it(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name=str(tracking.notification_id))
        if tracking.notification_id == burning:
            raise ValueError(burning)

    ActingView.act = staticmethod(act)  # type: ignore[assignment]
    school.register("Fido")
    burning = school.add_trick("Fido", "burn")
    sitting = school.add_trick("Fido", "sit")

    _, failed, last = runs(registration(view_class=ActingView))

    assert failed.error == f"ValueError: {burning}"
    assert [each.pk for each in last.changes] == [str(sitting)]


def test_an_aggregates_rows_can_be_left_out_at_first(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class View(TrainingSchoolView):
        def aggregate_rows(self, originator_id: UUID) -> models.QuerySet[Dog]:
            return Dog.objects.filter(pk=originator_id)

    registered = registration(view_class=View)
    for name in ("Fido", "Rex"):
        school.register(name)
    school.add_trick("Fido", "sit")
    catch_up(registered)
    before = list(Dog.objects.order_by("name").values())

    first, second = runs(registered, anew=True)

    assert values(first, Dog._meta.label, "name", "tricks") == {("Fido", None, "[]")}
    assert second.changes[0].after == before[0]
    assert list(Dog.objects.order_by("name").values()) == before
    with pytest.raises(ConfigurationError, match="does not say which rows"):
        runs(registration(), anew=True)


def test_events_are_chosen_by_position(
    school: TrainingSchool, school_projection: Registration
) -> None:
    positions = [school.register("Fido")]
    positions += [school.add_trick("Fido", trick) for trick in ("sit", "beg", "roll")]
    school.register("Rex")

    def found(**choice: Any) -> list[int]:
        return [run.position for run in runs(school_projection, **choice)]

    assert found() == positions
    assert found(start=positions[2]) == positions[2:]
    assert found(start=positions[1] + 1) == positions[2:]
    assert found(start=positions[3] + 1) == []
    assert found(only=positions[1]) == [positions[1]]
    assert found(aggregate=dog_id().upper(), only=positions[1]) == [positions[1]]
    run = DryRun(school_projection, Choice(dog_id(), most=2))
    assert [each.position for each in run.run()] == positions[:2]
    assert run.has_more


def test_what_is_not_there_is_told(
    school: TrainingSchool, school_projection: Registration
) -> None:
    position = school.register("Fido")

    with pytest.raises(DryRunError, match="no events of aggregate 'nobody'"):
        runs(school_projection, "nobody")
    with pytest.raises(DryRunError, match=f"no event .* at position {position + 1}"):
        runs(school_projection, only=position + 1)
    with pytest.raises(DryRunError, match=f"is of another aggregate: '{dog_id()}'"):
        runs(school_projection, dog_id("Rex"), only=position)


def test_events_of_other_topics_are_not_the_projections(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class NoTricks(TrainingSchoolProjection):
        name = "NoTricks"
        topics = (TrainingSchoolProjection.topics[0],)

    only_dogs = registration(projection_class=NoTricks)
    first = school.register("Fido")
    position = school.add_trick("Fido", "sit")

    assert [run.position for run in runs(only_dogs)] == [first]
    with pytest.raises(DryRunError, match="'NoTricks' does not get"):
        runs(only_dogs, only=position)


def test_a_view_elsewhere_cannot_be_undone(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Memory(POPOTrackingRecorder):
        pass

    with pytest.raises(DryRunError, match="keeps its rows elsewhere"):
        runs(registration(view_class=Memory))


def test_rows_by_the_plain_orm(tried: Tried) -> None:
    Owner.objects.create(name="Ann")
    Owner.objects.create(name="Bob", visits=3)
    Owner.objects.create(name="Cid", visits=9)

    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.filter(visits__gt=1).update(visits=models.F("visits") + 1)
        Owner.objects.get(name="Ann").delete()
        Owner.objects.bulk_create([Owner(name="Dee"), Owner(name="Eve")])
        Owner.objects.filter(name="Eve").update(visits=5)
        Owner.objects.filter(name="Cid").update(visits=9)

    run = tried(act)

    assert {
        (model, pk): (before and before["visits"], after and after["visits"])
        for model, pk, before, after in changed(run)
    } == {
        ("rows_app.Owner", "Bob"): (3, 4),
        ("rows_app.Owner", "Ann"): (0, None),
        ("rows_app.Owner", "Dee"): (None, 0),
        ("rows_app.Owner", "Eve"): (None, 5),
    }
    assert Owner.objects.count() == 3


def test_rows_by_raw_sql(tried: Tried) -> None:
    Counter.objects.create(name="a")

    def act(view: Any, tracking: Tracking) -> None:
        with connection.cursor() as cursor:
            cursor.execute("/* a word */ UPDATE rows_app_counter SET count = 2")
            cursor.execute(
                "INSERT INTO rows_app_counter (name, count, total) "
                "SELECT 'b', count, 7 FROM rows_app_counter"
            )

    assert [
        (pk, before and before["count"], after["count"])
        for _, pk, before, after in changed(tried(act))
    ] == [("a", 0, 2), ("b", None, 2)]


def test_rows_that_django_deletes_with_others(tried: Tried) -> None:
    owner = Owner.objects.create(name="Ann")
    animal = Animal.objects.create(name="Fido", owner=owner)
    visit = Visit.objects.create(animal=animal, number=1)

    run = tried(lambda view, tracking: owner.delete())

    assert {(model, pk): after for model, pk, _, after in changed(run)} == {
        ("rows_app.Visit", visit.pk): None,
        ("rows_app.Animal", animal.pk): None,
        ("rows_app.Owner", "Ann"): None,
    }
    assert Visit.objects.exists()


@contextmanager
def tables(*statements: str) -> Iterator[None]:
    """Make tables of no model, and drop them at the end."""
    with connection.cursor() as cursor:
        try:
            for statement in statements:
                cursor.execute(statement)
            yield
        finally:
            for name in ("dry_child", "dry_parent"):
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION IF EXISTS dry_add()")


PARENT = "CREATE TABLE dry_parent (id INTEGER PRIMARY KEY)"
CHILD = (
    "CREATE TABLE dry_child (id INTEGER PRIMARY KEY, parent INTEGER, "
    "FOREIGN KEY (parent) REFERENCES dry_parent (id) ON DELETE CASCADE)"
)


def execute(*statements: str) -> Act:
    def act(view: Any, tracking: Tracking) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return act


def test_rows_that_the_database_deletes_with_others(tried: Tried) -> None:
    with tables(
        PARENT,
        CHILD,
        "INSERT INTO dry_parent VALUES (1), (2)",
        "INSERT INTO dry_child VALUES (10, 1), (20, 2)",
    ):
        run = tried(execute("DELETE FROM dry_parent WHERE id = 2"))

    assert sorted(changed(run)) == [
        ("dry_child", 20, {"id": 20, "parent": 2}, None),
        ("dry_parent", 2, {"id": 2}, None),
    ]


def test_rows_that_a_trigger_changes(tried: Tried) -> None:
    statement = "INSERT INTO dry_child (id) VALUES (NEW.id + 1)"
    trigger = ["CREATE TRIGGER dry_add AFTER INSERT ON dry_parent FOR EACH ROW {}"]
    if connection.vendor == "postgresql":
        trigger = [
            "CREATE FUNCTION dry_add() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NEW; END $$",
            trigger[0].format("EXECUTE FUNCTION dry_add()"),
        ]
    elif connection.vendor == "sqlite":
        trigger = [trigger[0].format(f"BEGIN {statement}; END")]
    else:
        trigger = [trigger[0].format(statement)]
    with tables(PARENT, CHILD, *trigger):
        run = tried(execute("INSERT INTO dry_parent VALUES (1)"))

    assert sorted(changed(run)) == [
        ("dry_child", 2, None, {"id": 2, "parent": None}),
        ("dry_parent", 1, None, {"id": 1}),
    ]


def test_rows_without_a_key(tried: Tried) -> None:
    with tables(
        "CREATE TABLE dry_parent (id INTEGER)",
        "INSERT INTO dry_parent VALUES (1), (1), (2)",
    ):
        run = tried(execute("DELETE FROM dry_parent WHERE id = 2"))
        same = tried(execute("INSERT INTO dry_parent VALUES (1)"))

    assert changed(run) == [("dry_parent", None, {"id": 2}, None)]
    assert changed(same) == [("dry_parent", None, None, {"id": 1})]


def test_what_the_commit_would_refuse_is_the_events_error(tried: Tried) -> None:
    run = tried(
        lambda view, tracking: Visit.objects.create(animal_id=UUID(int=7), number=1)
    )

    assert run.error.startswith("IntegrityError")
    assert run.changes == ()


def test_callbacks_are_counted_and_not_called(tried: Tried) -> None:
    called: list[str] = []

    run = tried(lambda view, tracking: transaction.on_commit(lambda: called.append("")))

    assert run.notes == ("1 on_commit callback, not called",)
    assert called == []
    with transaction.atomic():
        Owner.objects.create(name="Ann")
    assert called == []


def test_effects_are_left_out_as_in_a_replay(tried: Tried) -> None:
    called: list[bool] = []

    def act(view: Any, tracking: Tracking) -> None:
        view.on_live(lambda: called.append(True))
        called.append(view.is_replay)

    run = tried(act)

    assert (run.error, run.notes, called) == ("", (), [True])


@pytest.mark.parametrize("statement", ["COMMIT", "  commit ;", "END", "ROLLBACK"])
def test_no_statement_ends_the_transaction(tried: Tried, statement: str) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        with connection.cursor() as cursor:
            cursor.execute(statement)

    run = tried(act)

    assert "would end the transaction" in run.error
    assert not Owner.objects.exists()


def test_definitions_of_tables_are_not_committed_with_the_rest(tried: Tried) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE dry_parent (id INTEGER)")

    run = tried(act)

    if connection.vendor == "mysql":
        assert "would end the transaction" in run.error
    assert not Owner.objects.exists()
    assert "dry_parent" not in connection.introspection.table_names()


def test_a_commit_past_django_is_told(tried: Tried, school: TrainingSchool) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        connection.connection.commit()

    with pytest.raises(DryRunError, match="the transaction has ended at position"):
        tried(act)


def test_no_event_is_saved(tried: Tried, school: TrainingSchool) -> None:
    before = school.recorder.max_notification_id()

    run = tried(lambda view, tracking: school.register("Rex"))
    other = tried(lambda view, tracking: School().save(Aggregate()))

    assert run.error.startswith("ProgrammingError: Nothing is saved here")
    assert other.error == run.error
    assert school.recorder.max_notification_id() == before
    # It holds for the handler alone.
    assert school.register("Rex") > (before or 0)


class School(Application[UUID]):
    """Keeps its events in memory."""

    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}


def test_a_handlers_threads_neither_save_nor_write(
    tried: Tried, school: TrainingSchool
) -> None:
    errors: list[str] = []

    def work() -> None:
        for attempt in (
            lambda: school.register("Rex"),
            lambda: Counter.objects.create(name="a"),
        ):
            try:
                attempt()
            except Exception as error:
                errors.append(str(error))
        connection.close()

    def act(view: Any, tracking: Tracking) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)

    assert changed(tried(act)) == []
    assert "Nothing is saved here" in errors[0]
    assert "could not be undone" in errors[1]
    assert not Counter.objects.exists()


LARGE = 20


@pytest.fixture
def large() -> None:
    """More owners, animals and visits than are read at once."""
    Owner.objects.bulk_create([Owner(name=f"n{n:02}", visits=n) for n in range(30)])
    Animal.objects.bulk_create(
        [Animal(id=UUID(int=n), name=f"n{n:02}") for n in range(30)]
    )
    Visit.objects.bulk_create(
        [Visit(animal_id=UUID(int=n), number=n) for n in range(30)]
    )


def values(run: EventRun, model: str, name: str, field: str) -> set[tuple[Any, ...]]:
    """Return for each row of a model that is changed a field before and after."""
    found = set()
    for label, _, before, after in changed(run):
        if label == model:
            said = [row and _hashable(row[field]) for row in (before, after)]
            found.add(((before or after)[name], *said))
    return found


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value


def test_of_large_tables_the_rows_are_read_that_statements_name(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.filter(visits__gte=28).update(visits=models.F("visits") * 2)
        Owner.objects.create(name="new", visits=1)
        Owner.objects.bulk_create([Owner(name="x"), Owner(name="y")])
        owner = Owner.objects.get(name="n03")
        owner.visits = 33
        owner.save()
        Owner.objects.filter(name__in=["n01", "n02"]).delete()
        Visit.objects.create(animal_id=UUID(int=1), number=100)
        Visit.objects.filter(number=5).delete()

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    assert values(run, "rows_app.Owner", "name", "visits") == {
        *(("n28", 28, 56), ("n29", 29, 58), ("n03", 3, 33)),
        *(("new", None, 1), ("x", None, 0), ("y", None, 0)),
        *(("n01", 1, None), ("n02", 2, None)),
    }
    assert values(run, "rows_app.Visit", "animal_id", "number") == {
        (UUID(int=1), None, 100),
        (UUID(int=5), 5, None),
    }


def test_of_large_tables_rows_that_may_be_there_already(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        rows = [Owner(name="n01", visits=7), Owner(name="new", visits=7)]
        Owner.objects.bulk_create(rows, ignore_conflicts=True)
        if connection.features.supports_update_conflicts_with_target:
            Owner.objects.bulk_create(
                [Owner(name="n02", visits=8)],
                update_conflicts=True,
                update_fields=["visits"],
                unique_fields=["name"],
            )

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    found = values(run, "rows_app.Owner", "name", "visits")
    assert found - {("n02", 2, 8)} == {("new", None, 7)}


def test_of_large_tables_rows_that_are_kept_in_memory(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        rows = view.rows(Animal)
        for number in (3, 4):
            rows.get(UUID(int=number)).tricks.append("sit")
        rows.add(Animal(id=UUID(int=99), name="new"))
        view.rows(Owner).delete("n05")
        view.rows(Visit).add(Visit(animal_id=UUID(int=99), number=0))

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    assert values(run, "rows_app.Animal", "name", "tricks") == {
        ("n03", "[]", "['sit']"),
        ("n04", "[]", "['sit']"),
        ("new", None, "[]"),
    }
    assert values(run, "rows_app.Owner", "name", "visits") == {("n05", 5, None)}
    assert values(run, "rows_app.Visit", "animal_id", "number") == {
        (UUID(int=99), None, 0)
    }


def test_what_is_not_certain_of_large_tables_is_told(
    tried: Callable[..., EventRun], large: None
) -> None:
    all_of_them = tried(
        lambda view, tracking: Owner.objects.update(visits=1), large_table=LARGE
    )
    selected = tried(
        execute(
            "INSERT INTO rows_app_counter (name, count, total) "
            "SELECT name, 1, 1 FROM rows_app_owner",
            "INSERT INTO rows_app_counter (name, count, total) VALUES ('x', 1, 1)",
        ),
        large_table=LARGE,
    )
    renamed = tried(
        lambda view, tracking: Owner.objects.filter(name="n01").update(name="m"),
        large_table=LARGE,
    )

    assert "is about more than 20 rows of rows_app.Owner" in all_of_them.notes[0]
    # It had few rows before.
    assert (len(selected.changes), selected.notes) == (31, ())
    assert "rows_app.Owner has more than 20 rows" in renamed.notes[0]


def test_a_worker_goes_on_afterwards(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    position = school.add_trick("Fido", "sit")

    (run,) = runs(school_projection, only=position, limit=TimeLimit(60))
    assert [each.before["tricks"] for each in run.changes if each.before] == [[], 0]

    catch_up(school_projection)
    assert Dog.objects.get().tricks == ["sit"]


def test_a_worker_that_runs_meanwhile_is_not_disturbed(
    school: TrainingSchool, school_projection: Registration
) -> None:
    position = school.register("Fido")
    with running(school_projection) as worker:
        wait_until(Dog.objects.exists)
        for number in range(5):
            school.add_trick("Fido", str(number))
            (run,) = runs(school_projection, only=position, limit=TimeLimit(60))
            assert "IntegrityError" in run.error
        wait_until(lambda: len(Dog.objects.get().tricks) == 5)
        assert worker.thread.is_alive()
        assert worker.error is None

    assert Dog.objects.get().tricks == ["0", "1", "2", "3", "4"]


def test_a_batch_that_is_under_way_is_waited_for_no_longer_than_said(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    locked, over = threading.Event(), threading.Event()

    def hold() -> None:
        tracked = school_projection.tracked()
        with transaction.atomic():
            tracked.lock()
            locked.set()
            over.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(60)
        with pytest.raises(DryRunError, match="another process may be in a transact"):
            runs(school_projection, limit=TimeLimit(0.5))
    finally:
        over.set()
        thread.join(60)

    assert Dog.objects.count() == 1


def test_what_takes_too_long_is_ended_and_undone(
    tried: Callable[..., EventRun],
) -> None:
    is_over = threading.Event()

    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name="Ann")
        assert is_over.wait(60)
        # Its locks are gone already.
        others.append(other_can_write())

    others: list[bool] = []
    limit = TimeLimit(0.5, is_over.set)

    with pytest.raises(DryRunError, match=r"broken off after 0\.5 s, and undone"):
        tried(act, limit=limit)

    assert others == [True]
    assert not Owner.objects.filter(name="Ann").exists()


def other_can_write() -> bool:
    """Write what a handler would write, in another thread and past what it refuses."""
    written: list[bool] = []

    def write() -> None:
        Owner.objects.create(name="Bob")
        written.append(True)
        connection.close()

    # Without the handler's context.
    thread = Context().run(lambda: threading.Thread(target=write))
    Context().run(thread.start)
    thread.join(60)
    return bool(written)
