"""The commands that try failed events again, and that leave them out."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from eventsourcing.persistence import Tracking

from django_esdb.failures.pausing import pause_projection
from django_esdb.failures.resuming import is_run, resume
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from django_esdb.status.status import projection_statuses
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection, tricks
from tests.support.supervising import running, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("_alone"),
]

Answer = Callable[[str], None]


@pytest.fixture
def _alone(parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the read models to one projection, as the checks demand."""
    monkeypatch.delitem(registry._registry, TrainingSchoolProjection.name)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Say what is typed at the question that comes; nothing ends the input."""

    def answer(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return answer


def run(command: str, *arguments: str) -> tuple[str, str]:
    """Return what a command says as its output, and as its errors."""
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_all_that_failed_is_retried(parked: list[FailedEvent]) -> None:
    PickyProjection.bad.clear()

    out, err = run("retryfailedevents")

    assert out.startswith("Picky: 3 processed, 0 failed again")
    assert err == ""
    assert not FailedEvent.objects.exists()
    assert (tricks("Fido"), tricks("Rex")) == (["burn", "sit"], ["burn"])


@pytest.mark.any_database
def test_what_a_user_has_paused_is_left_alone_unless_it_is_named(
    parked: list[FailedEvent],
) -> None:
    PickyProjection.bad.clear()
    pause_projection(registry.get("Picky"))

    out, err = run("retryfailedevents")

    assert out.startswith("Picky: paused by hand, so it is left alone; name it ")
    assert err == ""
    assert FailedEvent.objects.count() == 3
    assert ProjectionTracking.objects.get().is_paused_by_hand

    out, _ = run("retryfailedevents", "Picky")

    assert out.startswith("Picky: 3 processed, 0 failed again")
    assert "it was paused" in out
    assert not ProjectionTracking.objects.get().is_paused_by_hand


@pytest.mark.any_database
def test_what_fails_again_is_an_error(parked: list[FailedEvent]) -> None:
    err = io.StringIO()

    with pytest.raises(CommandError, match="2 events failed again") as raised:
        call_command("retryfailedevents", "Picky", stdout=io.StringIO(), stderr=err)

    assert raised.value.returncode == 1
    assert f"Event {parked[0].pk} at {parked[0].position}: " in err.getvalue()
    assert FailedEvent.objects.count() == 3


def test_one_event_is_discarded_without_a_question(parked: list[FailedEvent]) -> None:
    out, _ = run("discardfailedevents", "--id", str(parked[2].pk), "--no-input")

    assert out == "Picky: 1 discarded\n"
    assert list(FailedEvent.objects.in_order()) == parked[:2]


@pytest.mark.any_database
@pytest.mark.parametrize("said", ["no\n", ""])
def test_nothing_is_discarded_unless_the_answer_is_yes(
    parked: list[FailedEvent], answer: Answer, said: str
) -> None:
    answer(said)

    with pytest.raises(CommandError, match="Nothing was discarded"):
        run("discardfailedevents", "Picky")

    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_all_is_discarded_when_the_answer_is_yes(
    parked: list[FailedEvent], answer: Answer
) -> None:
    answer("yes\n")

    assert run("discardfailedevents", "Picky")[0].endswith("Picky: 3 discarded\n")
    assert not FailedEvent.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("pks", "question"),
    [
        (
            slice(None),
            "3 failed events of Picky will be discarded: the read models will never "
            "see them.",
        ),
        (
            slice(1),
            "1 failed event of Picky will be discarded: the read models will never "
            "see it.",
        ),
    ],
)
def test_the_question_says_how_many_are_discarded(
    parked: list[FailedEvent],
    answer: Answer,
    capsys: pytest.CaptureFixture[str],
    pks: slice,
    question: str,
) -> None:
    FailedEvent.objects.exclude(pk__in=[each.pk for each in parked[pks]]).delete()
    answer("yes\n")

    run("discardfailedevents")

    assert capsys.readouterr().out == f"{question} Type yes to continue: "


@pytest.mark.any_database
def test_the_question_is_about_the_one_event_that_is_meant(
    parked: list[FailedEvent], answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    answer("yes\n")

    run("discardfailedevents", "--id", str(parked[2].pk))

    assert capsys.readouterr().out.startswith("1 failed event of Picky will be")
    assert FailedEvent.objects.count() == 2


@pytest.mark.any_database
def test_nothing_is_asked_where_there_is_nothing_to_discard(
    parked: list[FailedEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    FailedEvent.objects.all().delete()

    out, err = run("discardfailedevents")

    assert (out, err) == ("There is no failed event to discard\n", "")
    assert capsys.readouterr().out == ""


@pytest.mark.any_database
@pytest.mark.parametrize("command", ["retryfailedevents", "discardfailedevents"])
def test_a_number_that_no_event_has_is_refused(
    parked: list[FailedEvent], command: str
) -> None:
    unknown = str(max(event.pk for event in parked) + 1)

    for arguments in (("--id", unknown), ("Picky", "--id", unknown)):
        with pytest.raises(CommandError, match=f"no failed event {unknown}") as raised:
            run(command, *arguments, *(["--no-input"] if "discard" in command else []))

        assert raised.value.returncode == 2
    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_an_event_behind_another_is_not_retried_alone(
    parked: list[FailedEvent],
) -> None:
    with pytest.raises(CommandError) as raised:
        run("retryfailedevents", "--id", str(parked[1].pk))

    assert raised.value.returncode == 2
    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_all_caught_up_is_said_when_nothing_is_put_aside(
    parked: list[FailedEvent],
) -> None:
    out, _ = run("runprojections", "--until-caught-up")

    last = out.splitlines()[-1]
    assert last == "Caught up, with failed events put aside: Picky 3"
    PickyProjection.bad.clear()
    run("retryfailedevents")
    out, _ = run("runprojections", "--until-caught-up")
    assert out.splitlines()[-1] == "All caught up"


@pytest.mark.any_database
def test_an_outage_of_one_event_does_not_keep_others_from_being_retried(
    parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    process_event = PickyProjection.process_event
    first = parked[0]

    def fail_for_fido(self: Any, domain_event: Any, tracking: Tracking) -> None:
        if tracking.notification_id == first.position:
            raise OperationalError("a service is away")
        process_event(self, domain_event, tracking)

    monkeypatch.setattr(PickyProjection, "process_event", fail_for_fido)
    PickyProjection.bad.clear()
    err = io.StringIO()

    with pytest.raises(CommandError, match="1 event failed again"):
        call_command("retryfailedevents", stdout=io.StringIO(), stderr=err)

    assert "OperationalError: a service is away" in err.getvalue()
    assert tricks("Rex") == ["burn"]
    left = FailedEvent.objects.in_order().first()
    assert left == first
    assert left is not None
    assert (left.error, left.attempts) == (first.error, first.attempts)


@pytest.mark.any_database
def test_an_outage_of_one_projection_does_not_keep_others_from_being_retried(
    parked: list[FailedEvent], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(TrainingSchool):
        pass

    class ElsewhereProjection(TrainingSchoolProjection):
        name = "Away"

    settings.ESDB_ENV = {
        "ELSEWHERE_EVENTSTOREDB_URI": "esdb://127.0.0.1:1?Tls=false&MaxDiscoverAttempts=1"
    }
    away = Registration(
        projection_class=ElsewhereProjection,
        application_class=Elsewhere,
        view_class=DjangoTrackingRecorder,
    )
    picky = registry._registry.pop("Picky")
    # The one that is away comes first.
    monkeypatch.setitem(registry._registry, "Away", away)
    registry._registry["Picky"] = picky
    FailedEvent.objects.create(
        projection="Away",
        application="Elsewhere",
        position=1,
        originator_id="1",
        originator_version=0,
        topic="topic",
        error="wrong",
        parked_at=parked[0].parked_at,
    )
    PickyProjection.bad.clear()
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(CommandError, match="Broken off: 1 of 2 projections"):
        call_command("retryfailedevents", stdout=out, stderr=err)

    assert "Away: broken off: " in err.getvalue()
    assert "Picky: 3 processed" in out.getvalue()


@pytest.mark.any_database
def test_where_no_process_runs_a_projection_that_is_said_and_its_error_stays(
    parked: list[FailedEvent],
) -> None:
    tracking = ProjectionTracking.objects.get()
    tracking.state, tracking.error = ProjectionState.PAUSED, "wrong"
    tracking.save()
    PickyProjection.bad.clear()

    out, _ = run("retryfailedevents", "Picky")

    assert out.endswith("; it was paused; no process runs it: start runprojections\n")
    tracking.refresh_from_db()
    assert tracking.error == "wrong"
    [shown] = [each for each in projection_statuses() if each.projection == "Picky"]
    assert (shown.state, shown.error) == (ProjectionState.STOPPED, "wrong")
    assert "no process runs it" in shown.advice[0]


def test_the_error_of_what_was_paused_stays_until_there_is_progress(
    parked: list[FailedEvent], school: TrainingSchool
) -> None:
    registration = registry.get("Picky")
    tracking = ProjectionTracking.objects.get()
    tracking.state, tracking.error = ProjectionState.PAUSED, "wrong"
    tracking.save()
    assert resume(registration.tracked())

    with running(registration):
        tracking.refresh_from_db()
        assert (tracking.state, tracking.error) == (ProjectionState.RETRYING, "wrong")
        assert is_run(registration.tracked())
        last = school.add_trick("Rex", "jump")
        wait_until(lambda: (ProjectionTracking.objects.get().position or 0) >= last)
        tracking.refresh_from_db()

    assert (tracking.state, tracking.error) == (ProjectionState.RUNNING, "")
