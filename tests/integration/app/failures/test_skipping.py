"""Failing events that are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_esdb.failures import skipping
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState, SkippedEvent
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def test_what_is_skipped_is_left_out_and_logged(
    school: TrainingSchool,
    failing: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position >= last
    assert tricks("Fido") == ["sit"]
    assert not FailedEvent.objects.exists()
    skipped = [r for r in caplog.records if r.getMessage().startswith("Event skipped")]
    assert len(skipped) == 1
    assert skipped[0].getMessage().endswith("error=RuntimeError: cannot burn")
    (kept,) = SkippedEvent.objects.all()
    assert kept.error == "RuntimeError: cannot burn"
    assert kept.topic.endswith("TrickAdded")
    assert kept.position < last


def test_the_latest_skipped_events_are_kept(
    school: TrainingSchool, failing: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skipping, "MOST_KEPT", 3)
    school.register("Fido")
    positions = []
    for _ in range(5):
        positions.append(school.add_trick("Fido", "burn"))
        last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position >= last
    kept = SkippedEvent.objects.values_list("position", flat=True)
    assert list(kept) == positions[-3:]


def test_too_many_in_a_row_are_not_skipped(
    school: TrainingSchool, failing: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_MAX_SKIPPED = 3
    school.register("Fido")
    positions = [school.add_trick("Fido", "burn") for _ in range(5)]
    registration = failing(on_failure=OnFailure.SKIP)

    with running(registration) as supervisor:
        supervisor.wait_for("paused")
        row = tracking()
        assert row.state == ProjectionState.PAUSED
        assert positions[2] <= row.position < positions[3]
        assert "more than 3 events in a row have failed" in row.error

        # Three more may be left out after a restart.
        assert retry_failed_events(registration).resumed
        wait_until(lambda: (tracking().position or 0) >= positions[4])

    assert tricks("Fido") == []


def test_what_succeeds_in_between_lets_more_be_skipped(
    school: TrainingSchool, failing: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_MAX_SKIPPED = 1
    school.register("Fido")
    for _ in range(4):
        school.add_trick("Fido", "burn")
        last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position >= last
    assert tricks("Fido") == ["sit"] * 4


def test_ten_in_a_row_are_skipped_unless_the_setting_says_otherwise() -> None:
    policy = FailurePolicy(OnFailure.SKIP, retries=None)

    decisions = [policy.failed(position) for position in range(12)]

    assert decisions == [OnFailure.SKIP] * 10 + [OnFailure.STOP] * 2


def test_one_that_cannot_be_left_out_yet_counts_once() -> None:
    policy = FailurePolicy(OnFailure.SKIP, retries=None)

    decisions = [policy.failed(1) for _ in range(30)]

    assert decisions == [OnFailure.SKIP] * 30
