"""Signals of events that fail, of outages, and of their ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import OperationalError

from django_esdb.exceptions import (
    EventProcessingError,
    ProjectionError,
)
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from tests.support.heard_signals import BATCHES, Heard, Picky
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def test_an_event_that_fails_and_then_pauses_its_projection(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    errors = [RuntimeError("cannot") for _ in range(4)]
    Picky.errors["burn"] = errors
    with running(picky(retries=2)):
        paused = heard.wait_for("projection_paused")
        # A receiver that resumes it at once is before its worker, which need not wait.
        heard.wait_for("standing_by")
        assert retry_failed_events(picky()).resumed
        wait_until(lambda: list(Dog.objects.get().tricks) == ["burn"])

    assert heard.names((*BATCHES, "projection_caught_up")) == [
        "lease_acquired",
        "projection_started",
        "event_failed",
        "event_failed",
        "event_failed",
        "lease_released",
        "projection_paused",
        "standing_by",
        "lease_acquired",
        "projection_started",
        "lease_released",
        "projection_stopped",
    ]
    assert [each["state"] for each in heard.of("lease_released")] == [
        "paused",
        "stopped",
    ]
    failed = heard.of("event_failed")
    assert [each["failures"] for each in failed] == [1, 2, 3]
    assert [each["is_first"] for each in failed] == [True, False, False]
    assert [each["retries"] for each in failed] == [2, 2, 2]
    assert {each["position"] for each in failed} == {there}
    assert [each["seconds"] for each in failed] == [0.01, 0.02, None]
    assert paused["position"] == there
    assert isinstance(paused["error"], EventProcessingError)
    (waiting,) = heard.of("standing_by")
    assert waiting == {
        "owner": "",
        "reason": str(paused["error"]),
        "is_paused": True,
    }


@pytest.mark.any_database
def test_an_event_that_is_tried_again_with_success(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    # In the batch and by itself.
    Picky.errors["burn"] = [RuntimeError("cannot"), RuntimeError("cannot")]

    with running(picky(retries=5)):
        heard.wait_for("projection_recovered")

    assert heard.has_reached("projection_recovered", there)
    assert heard.names().index("event_failed") < heard.names().index(
        "projection_recovered"
    )


@pytest.mark.any_database
def test_events_that_are_parked(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    behind = school.add_trick("Fido", "sit")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    catch_up(picky(on_failure=OnFailure.PARK))

    first, second = heard.of("event_parked")
    assert (first["position"], first["reason"]) == (there, "RuntimeError: cannot")
    assert "TrickAdded" in first["event"]
    assert (second["position"], second["reason"]) == (behind, "")
    (failed,) = heard.of("event_failed")
    assert (failed["failures"], failed["seconds"]) == (1, None)


@pytest.mark.any_database
def test_an_event_that_is_skipped(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    catch_up(picky(on_failure=OnFailure.SKIP))

    (skipped,) = heard.of("event_skipped")
    assert (skipped["position"], skipped["reason"]) == (there, "RuntimeError: cannot")


@pytest.mark.any_database
def test_an_outage_and_its_end(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    # Else this event may be committed between the two errors.
    catch_up(picky())
    last = school.add_trick("Fido", "wait")
    Picky.errors["wait"] = [OperationalError("it is away")] * 2

    with running(picky()):
        heard.wait_for("projection_recovered")

    outages = heard.of("projection_interrupted")
    assert [each["is_first"] for each in outages] == [True, False]
    assert [each["seconds"] for each in outages] == [0.01, 0.02]
    assert {each["phase"] for each in outages} == {"running"}
    assert str(outages[0]["error"]) == "it is away"
    assert heard.has_reached("projection_recovered", last)
    assert "event_failed" not in heard.names()


@pytest.mark.any_database
def test_a_projection_that_fails(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    with pytest.raises(ProjectionError) as raised:
        catch_up(picky())

    assert heard.of("projection_failed") == [{"error": raised.value}]
    assert "projection_stopped" not in heard.names()
    assert "projection_paused" not in heard.names()


@pytest.mark.any_database
def test_a_subscription_that_was_broken_off_for_a_moment(
    school: TrainingSchool,
    school_projection: Registration,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receivers: list[Receiver] = []
    run = Receiver.run

    def keep(receiver: Receiver) -> None:
        receivers.append(receiver)
        run(receiver)

    monkeypatch.setattr(Receiver, "run", keep)
    school.register("Fido")
    with running(school_projection):
        heard.wait_for("projection_caught_up")
        receivers[-1].drop_call()
        resumed = heard.wait_for("subscription_resumed")

    assert resumed == {"times": 1}
    assert "projection_interrupted" not in heard.names()
