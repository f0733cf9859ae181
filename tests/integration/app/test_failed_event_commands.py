"""The commands that try failed events again, and that leave them out."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from django_esdb.models import FailedEvent
from django_esdb.registry import registry
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection, tricks

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


@pytest.mark.parametrize("said", ["no\n", ""])
def test_nothing_is_discarded_unless_the_answer_is_yes(
    parked: list[FailedEvent], answer: Answer, said: str
) -> None:
    answer(said)

    with pytest.raises(CommandError, match="Nothing was discarded"):
        run("discardfailedevents", "Picky")

    assert FailedEvent.objects.count() == 3


def test_all_is_discarded_when_the_answer_is_yes(
    parked: list[FailedEvent], answer: Answer
) -> None:
    answer("yes\n")

    assert run("discardfailedevents", "Picky")[0].endswith("Picky: 3 discarded\n")
    assert not FailedEvent.objects.exists()


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


def test_an_event_behind_another_is_not_retried_alone(
    parked: list[FailedEvent],
) -> None:
    with pytest.raises(CommandError) as raised:
        run("retryfailedevents", "--id", str(parked[1].pk))

    assert raised.value.returncode == 2
    assert FailedEvent.objects.count() == 3


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
