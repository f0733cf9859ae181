"""``manage.py rebuildprojection``: making rows anew, and giving the projection back."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import models
from django.utils import timezone
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOApplicationRecorder

from django_esdb.exceptions import OtherStoreError
from django_esdb.management import progress
from django_esdb.management.commands import _projection_progress
from django_esdb.models import (
    FailedEvent,
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.policies import OnFailure
from django_esdb.rebuilding.beginning import take_over
from django_esdb.rebuilding.requests import request_rebuild
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from django_esdb.runner.batches import batch_loop
from django_esdb.subscriptions.positions import check_same_store
from eventsourcing_eventstoredb.exceptions import NodeBehindError
from eventsourcing_eventstoredb.protocol import retrying
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection, tricks
from tests.support.stores import append
from tests.support.supervising import SECONDS, catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NAME = TrainingSchoolProjection.name
MakeRegistration = Callable[..., Registration]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a process that might take over."""
    module = "django_esdb.management.commands.rebuildprojection.TAKEOVER_SECONDS"
    monkeypatch.setattr(module, 0.0)


def run(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("rebuildprojection", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def counts() -> list[tuple[int, int]]:
    return list(SchoolCounts.objects.values_list("dogs", "tricks"))


def spoil() -> None:
    """Change a row in a way that only a rebuild undoes."""
    assert Dog.objects.update(name="wrong")


def test_rows_are_made_anew_where_no_process_runs_it(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    catch_up(school_projection)
    last = tracking().position
    spoil()

    said = run(NAME, "--no-input").splitlines()

    assert said[0].startswith(f"Rebuilding {NAME}: deleted ")
    assert "1 row of training_school.Dog" in said[0]
    assert said[-1] == (
        f"{NAME} is rebuilt from 2 events; no process runs it: start runprojections"
    )
    assert tricks("Fido") == ["sit"]
    assert counts() == [(1, 1)]
    row = tracking()
    assert row.position >= row.replay_until >= last
    assert row.owner == ""
    assert row.state == ProjectionState.STOPPED
    assert run(NAME, "--no-input").count(f"Rebuilding {NAME}") == 1


@pytest.mark.any_database
def test_it_ends_where_others_wrote_the_last_event(
    school: TrainingSchool,
    school_projection: Registration,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = school.register("Fido")
    append(server, "foreign", "Foreign")
    with running(school_projection):
        wait_until(lambda: (tracking().position or 0) > last)
    # Later than the command looks whether anything is left to process.
    monkeypatch.setattr(batch_loop, "_FIRST_IDLE_SECONDS", 1.0)

    said = run(NAME, "--no-input")

    assert f"{NAME} is rebuilt from 1 event" in said
    row = tracking()
    assert not row.is_replaying
    assert row.position >= row.replay_until > last


def test_who_runs_it_stands_by_and_goes_on_afterwards(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    module = "django_esdb.management.commands.rebuildprojection.TAKEOVER_SECONDS"
    monkeypatch.setattr(module, SECONDS)
    # Who runs it notices when the lease is to be renewed.
    settings.ESDB_LEASE_SECONDS = 3
    for number in range(5):
        school.register(f"Dog {number}")
    with running(school_projection, exclusive=True) as supervisor:
        wait_until(lambda: counts() == [(5, 0)])
        assert Dog.objects.filter(name="Dog 3").update(name="wrong")

        said = run(NAME, "--no-input", "--batch-size", "1")

        assert said.splitlines()[-1] == f"{NAME} is rebuilt from 5 events"
        assert Dog.objects.filter(name="Dog 3").exists()
        supervisor.wait_for("started", 2)
        school.add_trick("Dog 3", "sit")
        wait_until(lambda: counts() == [(5, 1)])
    assert counts() == [(5, 1)]


@pytest.mark.any_database
def test_it_says_what_will_be_deleted_and_asks(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def answer(text: str) -> Callable[[str], str]:
        return lambda prompt: asked.append(prompt) or text  # type: ignore[func-returns-value]

    # There is nothing to ask about yet.
    monkeypatch.setattr("builtins.input", answer("no"))
    assert "is rebuilt from 0 events" in run(NAME)
    school.register("Fido")
    catch_up(school_projection)
    spoil()

    with pytest.raises(CommandError, match="Nothing was rebuilt") as refused:
        run(NAME)

    assert refused.value.returncode == 1
    assert "1 row of training_school.Dog and " in asked[0]
    assert "1 row of training_school.SchoolCounts will be deleted" in asked[0]
    assert Dog.objects.get().name == "wrong"
    monkeypatch.setattr("builtins.input", answer("yes"))
    run(NAME)
    assert Dog.objects.get().name == "Fido"


def test_what_was_broken_off_goes_on_without_being_asked(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(prompt: str) -> str:
        raise AssertionError(prompt)

    monkeypatch.setattr("builtins.input", refuse)
    school.register("Fido")
    school.add_trick("Fido", "sit")
    catch_up(school_projection)
    begun = take_over(school_projection, "gone", 60)
    assert begun.until is not None
    # As if the first event were processed.
    view = DjangoTrackingRecorder(NAME)
    with view.batch("TrainingSchool", None, 0, lease=begun.lease):
        pass

    assert f"Continuing the rebuild of {NAME}" in run(NAME)

    assert tracking().position >= begun.until
    assert not tracking().is_replaying
    begun = take_over(school_projection, "gone", 60)
    assert f"Rebuilding {NAME}" in run(NAME, "--no-input", "--restart")
    # What was asked for in the meantime restarts, too.
    begun = take_over(school_projection, "gone", 60)
    request_rebuild(school_projection)
    assert f"Rebuilding {NAME}" in run(NAME, "--no-input")
    assert tracking().rebuild_requested_at is None
    assert counts() == [(1, 1)]


@pytest.mark.any_database
def test_an_event_that_fails_ends_it_and_the_same_command_goes_on(
    school: TrainingSchool,
    register: Callable[[OnFailure], Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(registry._registry, NAME)
    school.register("Fido")
    school.add_trick("Fido", "burn")
    register(OnFailure.STOP)

    with pytest.raises(CommandError, match="cannot burn") as failed:
        run("Picky", "--no-input")

    assert failed.value.returncode == 1
    assert tracking().state == ProjectionState.PAUSED
    PickyProjection.bad.clear()
    said = run("Picky", "--no-input")
    assert "Continuing" in said
    assert "is rebuilt" in said
    assert tricks("Fido") == ["burn"]
    assert (tracking().state, tracking().error) == (ProjectionState.STOPPED, "")


@pytest.mark.any_database
def test_failed_events_that_are_put_aside_are_told_of(
    parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry._registry, NAME)

    said = run("Picky", "--no-input")

    assert "deleted 3 rows of django_esdb.FailedEvent" in said
    assert "3 failed and are put aside" in said
    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_where_the_store_is_away_the_old_rows_stand(
    school: TrainingSchool,
    school_projection: Registration,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.1)
    school.register("Fido")
    catch_up(school_projection)
    before = tracking()
    with EmbeddedServer() as gone:
        settings.ESDB_URI = gone.uri

    with pytest.raises(CommandError) as failed:
        run(NAME, "--no-input")

    assert failed.value.returncode == 1
    assert "\n" not in str(failed.value)
    assert tracking().position == before.position
    assert Dog.objects.exists()


def test_where_rows_cannot_be_deleted_the_old_ones_stand(
    school: TrainingSchool, school_projection: Registration
) -> None:
    def refuse(**kwargs: Any) -> None:
        raise models.ProtectedError("still needed", set())

    school.register("Fido")
    catch_up(school_projection)
    before = tracking().position
    models.signals.pre_delete.connect(refuse, sender=Dog)
    try:
        with pytest.raises(CommandError, match=r"not rebuilt: .*still needed") as no:
            run(NAME, "--no-input")
    finally:
        models.signals.pre_delete.disconnect(refuse, sender=Dog)
    assert no.value.returncode == 1
    assert tracking().position == before
    assert Dog.objects.exists()


@pytest.mark.any_database
def test_another_stores_events_are_not_rebuilt_from(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    ProjectionTracking.objects.update(event_id="of another store")

    with pytest.raises(CommandError, match="this is another store"):
        run(NAME, "--no-input")
    assert Dog.objects.exists()


@pytest.mark.any_database
def test_what_is_replayed_is_of_the_store_that_is_there(
    school: TrainingSchool, school_projection: Registration
) -> None:
    """Effects were held back, and a rebuild went on, until a store has grown so far."""
    school.register("Fido")
    catch_up(school_projection)
    call_command("resetprojection", NAME, interactive=False)
    # As where the store was emptied then.
    ProjectionTracking.objects.update(replay_until=10**12)

    said = rf"up to position {10**12} once more, and the store's end is at \d+: this is"
    for arguments in ([], ["--restart"]):
        with pytest.raises(CommandError, match=said):
            run(NAME, "--no-input", *arguments)
    with pytest.raises(CommandError, match=said):
        call_command("runprojections", NAME, until_caught_up=True)
    assert not Dog.objects.exists()

    call_command("resetprojection", NAME, "--with-effects", interactive=False)
    catch_up(school_projection)
    assert Dog.objects.count() == 1


def test_a_node_that_does_not_reach_so_far_may_be_behind() -> None:
    class Follower(POPOApplicationRecorder):
        may_be_behind = True

    row = ProjectionTracking(projection=NAME, application="School", replay_until=5)
    with pytest.raises(NodeBehindError, match="up to position 5 once more"):
        check_same_store(Follower(), row)
    with pytest.raises(OtherStoreError, match="--with-effects"):
        check_same_store(POPOApplicationRecorder(), row)


@pytest.mark.any_database
def test_unknown_names_and_rows_are_refused(
    school: TrainingSchool,
    registration: MakeRegistration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class View(DjangoTrackingRecorder):
        pass

    monkeypatch.setitem(registry._registry, NAME, registration(view_class=View))
    for name, text in (("Unknown", "No projection 'Unknown'"), (NAME, "read_models")):
        with pytest.raises(CommandError, match=text) as refused:
            run(name, "--no-input")
        assert refused.value.returncode == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Slow(TrainingSchoolProjection):
    """Waits at the last event until something was shown."""

    name = "Slow"
    is_shown: Callable[[], bool] = lambda: True

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if getattr(domain_event, "trick", "") == "wait":
            wait_until(type(self).is_shown)


@pytest.mark.any_database
@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
@pytest.mark.parametrize("command", ["rebuildprojection", "runprojections"])
def test_it_shows_how_far_it_is(
    school: TrainingSchool,
    registration: MakeRegistration,
    monkeypatch: pytest.MonkeyPatch,
    out: io.StringIO,
    command: str,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_SECONDS", 0)
    monkeypatch.setattr(progress, "_BAR_SECONDS", 0)
    monkeypatch.setattr(_projection_progress, "_LOOK_SECONDS", 0.01)
    slow = registration(projection_class=Slow)
    monkeypatch.setattr(registry, "_registry", {"Slow": slow})
    school.register("Fido")
    school.add_trick("Fido", "sit")
    school.add_trick("Fido", "wait")
    out.seek(0)
    out.truncate()
    phase, option = {
        "rebuildprojection": ("Rebuilding", "--no-input"),
        "runprojections": ("Catching up", "--until-caught-up"),
    }[command]
    shown = threading.Event()

    def is_shown() -> bool:
        text = out.getvalue()
        # While this transaction is open, SQLite keeps a worker from saying where the
        # events end.
        is_known = "%" in text or command == "runprojections"
        if "2 events" in text and phase in text and is_known:
            shown.set()
        return shown.is_set()

    monkeypatch.setattr(Slow, "is_shown", is_shown)

    call_command(command, "Slow", option, "--batch-size", "1", stdout=out)

    assert shown.is_set()
    assert counts() == [(1, 2)]


@pytest.mark.any_database
def test_what_was_measured_before_is_no_part_that_is_done(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    tracked = school_projection.tracked()
    measured = {
        "head": tracked.row().position,
        "total": 1,
        "measured_at": timezone.now(),
    }
    lag, _ = ProjectionLag.objects.update_or_create(
        tracking=tracked.row(), defaults=measured
    )
    look = _projection_progress._Look("Catching up", [tracked])

    assert look.progress().fraction is None
    lag.measured_at += timedelta(seconds=1)
    lag.save()
    assert look.progress().fraction == 1
    lag.unknown_since = lag.measured_at
    lag.save()
    assert look.progress().fraction is None


@pytest.mark.any_database
def test_what_is_written_about_errors_stands_above_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    handler = logging.StreamHandler(terminal)
    logging.root.addHandler(handler)
    try:
        with progress.shown_progress(terminal, {}, OutputWrapper(terminal)) as shown:
            shown.complain("It is paused")
            logging.getLogger("project").error("It has failed")
            shown.say("Running")
    finally:
        logging.root.removeHandler(handler)

    text = terminal.getvalue()
    # Behind what deletes the bar, which is there again afterwards and gone in the end.
    deleted = "\x1b[2K"
    for line in ("It is paused", "It has failed", "Running"):
        assert f"{deleted}{line}\n" in text
        assert "events" in text[text.index(line) :]
    assert text.endswith(deleted)
    assert handler.stream is terminal


@pytest.mark.any_database
@pytest.mark.parametrize("options", [("--no-progress",), ("-v", "0")])
def test_it_is_silent_if_told_so(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    def look(*args: Any) -> None:
        raise AssertionError("it asks the database")

    monkeypatch.setattr(_projection_progress, "_Look", look)
    school.register("Fido")

    said = run(NAME, "--no-input", *options)

    assert said.count("\n") == 2
