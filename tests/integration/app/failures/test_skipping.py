"""Failing events that are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_esdb.exceptions import ProjectionError
from django_esdb.failures import skipping
from django_esdb.failures.parking import ParkedAggregates
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

        # Three more may be left out when it is resumed.
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
    decisions = []
    for policy.skipped in range(12):
        # More than once: an outage may keep it from being left out.
        decisions += [policy.failed(policy.skipped), policy.failed(policy.skipped)]

    assert decisions == [OnFailure.SKIP] * 20 + [OnFailure.STOP] * 4


def test_they_are_counted_from_process_to_process(
    school: TrainingSchool, failing: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_MAX_SKIPPED = 2
    put_aside = school.register("Rex")
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(on_failure=OnFailure.SKIP)
    catch_up(registration)
    assert tracking().skipped_in_a_row == 1
    # Put behind others, so neither a failure nor a success.
    (event,) = school.recorder.select_notifications(put_aside, 1)
    ParkedAggregates(registration.tracked()).park(event, "failed")
    school.add_trick("Rex", "sit")
    school.add_trick("Fido", "burn")
    catch_up(registration)
    assert tracking().skipped_in_a_row == 2
    assert FailedEvent.objects.count() == 2

    school.add_trick("Fido", "burn")
    for _ in range(2):
        # Another attempt for each start, which does not begin to count anew.
        with pytest.raises(ProjectionError, match="more than 2 events in a row have"):
            catch_up(registration)
    assert SkippedEvent.objects.count() == 2
