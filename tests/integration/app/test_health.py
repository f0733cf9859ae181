"""What probes are told: the command, the site's addresses and django-health-check."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client, override_settings
from django.urls import include, path
from django.utils import timezone

from django_esdb.db.functions import DatabaseTime
from django_esdb.models import ProjectionLag, ProjectionState, ProjectionTracking
from django_esdb.registry import Registration

pytestmark = pytest.mark.django_db

NAME = "TrainingSchoolProjection"
SECRET = "s3cret-w0rd"

urlpatterns = [path("health/", include("django_esdb.urls"))]


@pytest.fixture(autouse=True)
def _store(settings: Any) -> None:
    # It is not asked.
    settings.ESDB_URI = "esdb://127.0.0.1:9?Tls=false"
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def row(school_projection: Registration) -> ProjectionTracking:
    """The row of one that runs, has caught up, and moved an hour ago."""
    row = school_projection.tracked().row()
    now = timezone.now()
    change(
        row,
        state=ProjectionState.RUNNING,
        owner="h:1:s:r",
        leased_until=DatabaseTime(60),
        position=7,
        processed=5,
        event_time=now - timedelta(hours=2),
        updated_at=now - timedelta(hours=1),
    )
    ProjectionLag.objects.create(
        tracking=row,
        head=7,
        head_time=now - timedelta(hours=2),
        total=5,
        is_exact=True,
        measured_at=now,
    )
    return row


def change(row: ProjectionTracking, **changes: Any) -> None:
    ProjectionTracking.objects.filter(pk=row.pk).update(**changes)


def put_behind(row: ProjectionTracking, seconds: float, **changes: Any) -> None:
    """Have it be so far behind."""
    event_time = timezone.now() - timedelta(hours=2)
    ProjectionTracking.objects.filter(pk=row.pk).update(event_time=event_time)
    ProjectionLag.objects.update(
        **{
            "head": 9,
            "total": 6,
            "head_time": event_time + timedelta(seconds=seconds),
            **changes,
        }
    )


def problem(*arguments: str) -> str:
    """Return what the command says is wrong; empty if it is healthy."""
    out = io.StringIO()
    said = ""
    try:
        call_command("projectionhealth", *arguments, stdout=out)
    except CommandError as error:
        said = str(error) if error.returncode == 1 else "another status"
    assert out.getvalue() == ("" if said else f"Healthy: {NAME}\n")
    return said


def asked(address: str) -> tuple[int, dict[str, Any]]:
    response = Client().get(f"/health/{address}")
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"]
    return response.status_code, json.loads(response.content)


def test_one_that_has_caught_up_is_healthy(row: ProjectionTracking) -> None:
    assert problem() == ""
    status, answer = asked("ready")
    assert (status, answer["status"]) == (200, "ready")
    assert answer["projections"] == [
        {
            "name": NAME,
            "state": "running",
            "is_healthy": True,
            "is_ready": True,
            "reason": "",
            "behind_events": 0,
            "behind_is_exact": True,
            "behind_seconds": 0.0,
        }
    ]


def test_all_is_asked_for_with_one_query(
    row: ProjectionTracking, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        problem()
    with django_assert_num_queries(1):
        asked("ready")
    with django_assert_num_queries(0):
        asked("live")


@pytest.mark.any_database
def test_one_that_is_behind_and_moves_is_healthy(row: ProjectionTracking) -> None:
    put_behind(row, 3600)
    change(row, updated_at=timezone.now() - timedelta(seconds=30))

    assert problem() == ""
    assert problem("--max-idle", "40") == ""
    assert asked("ready")[0] == 200
    assert "not moved since" in problem("--max-idle", "20")


def test_one_that_is_behind_and_does_not_move_is_not(row: ProjectionTracking) -> None:
    put_behind(row, 3600)

    said = problem()

    assert said.startswith(f"{NAME} is not healthy: running: 3600 s behind, and not")
    assert "\n" not in said
    status, answer = asked("ready")
    assert (status, answer["status"]) == (503, "not ready")
    assert answer["projections"][0]["reason"] in said
    assert asked("live") == (200, {"status": "live"})
    assert problem("--max-behind", "3600") == ""
    assert problem("--max-behind", "3599") != ""


@pytest.mark.any_database
def test_what_is_healthy_can_be_set(row: ProjectionTracking, settings: Any) -> None:
    put_behind(row, 100)
    assert problem() != ""

    settings.ESDB_MAX_BEHIND = 100
    assert problem() == ""
    assert asked("ready")[0] == 200

    settings.ESDB_MAX_BEHIND = 0
    settings.ESDB_MAX_IDLE = 3700
    assert problem() == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "stopped", "owner": "", "leased_until": None},
        {"state": "paused", "owner": "", "leased_until": None, "error": SECRET},
        {"state": "failed", "owner": "", "leased_until": None, "error": SECRET},
        {"leased_until": DatabaseTime(-1)},
    ],
    ids=["stopped", "paused", "failed", "lost"],
)
def test_one_without_a_live_owner_is_not_healthy(
    row: ProjectionTracking, changes: dict[str, Any]
) -> None:
    change(row, **changes)

    said = problem()

    assert said.endswith("no process runs it")
    status, answer = asked("ready")
    assert status == 503
    assert SECRET not in said + json.dumps(answer)


@pytest.mark.any_database
def test_one_that_was_never_measured_is_not_healthy(row: ProjectionTracking) -> None:
    ProjectionLag.objects.all().delete()

    assert "it is not known how far behind" in problem()

    change(row, updated_at=None)
    assert problem().endswith("never moved")


@pytest.mark.any_database
def test_what_was_measured_long_ago_is_nothing_to_go_by(
    row: ProjectionTracking,
) -> None:
    ProjectionLag.objects.update(measured_at=timezone.now() - timedelta(minutes=1))
    assert "it is not known how far behind" in problem()

    change(row, updated_at=timezone.now())
    assert problem() == ""


def test_a_store_that_is_away_is_no_reason_to_restart(row: ProjectionTracking) -> None:
    change(row, state=ProjectionState.RETRYING, error=SECRET)
    put_behind(row, 3600, unknown_since=timezone.now() - timedelta(minutes=5))

    assert problem() == ""
    assert "the event store cannot be asked since" in problem("--ready")
    status, answer = asked("ready")
    assert status == 503
    assert (answer["projections"][0]["is_healthy"], answer["status"]) == (
        True,
        "not ready",
    )
    assert "the event store cannot be asked" in answer["projections"][0]["reason"]
    assert SECRET not in json.dumps(answer)
    assert asked("live")[0] == 200


def test_a_database_that_is_away_fails_readiness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> Any:
        msg = f"no connection to esdb://me:{SECRET}@host"
        raise OperationalError(msg)

    monkeypatch.setattr("django_esdb.status.health.projection_statuses", fail)

    said = problem()

    assert said.startswith("Cannot use a database: no connection to esdb://***")
    assert asked("ready") == (
        503,
        {"status": "not ready", "reason": "a database cannot be used"},
    )
    assert asked("live") == (200, {"status": "live"})


@pytest.mark.any_database
def test_probes_need_no_login_and_only_read(row: ProjectionTracking) -> None:
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    with override_settings(MIDDLEWARE=[*django_settings.MIDDLEWARE, middleware]):
        assert asked("ready")[0] == asked("live")[0] == 200
    assert Client().post("/health/ready").status_code == 405
    assert Client().head("/health/ready").status_code == 200


@pytest.mark.any_database
def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(CommandError, match="Unknown") as caught:
        call_command("projectionhealth", "Unknown")

    assert caught.value.returncode == 2


@pytest.mark.any_database
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "x"])
def test_what_is_no_number_of_seconds_is_refused(value: str) -> None:
    with pytest.raises(CommandError, match="number of seconds"):
        call_command("projectionhealth", "--max-behind", value)


needs_health_check = pytest.mark.skipif(
    importlib.util.find_spec("health_check") is None,
    reason="django-health-check is not installed",
)


@pytest.mark.any_database
@needs_health_check
@pytest.mark.django_db(transaction=True)
def test_django_health_check_is_told(row: ProjectionTracking) -> None:
    from health_check.exceptions import ServiceUnavailable

    from django_esdb.contrib.health_check import Projections

    Projections().run()
    put_behind(row, 3600)
    Projections(max_behind=3600.0).run()

    with pytest.raises(ServiceUnavailable) as caught:
        Projections().run()

    assert str(caught.value).startswith(
        f"Unavailable: {NAME} is not healthy: running: 3600 s behind"
    )


@pytest.mark.any_database
@needs_health_check
@pytest.mark.django_db(transaction=True)
def test_its_result_is_django_health_checks(row: ProjectionTracking) -> None:
    from django_esdb.contrib.health_check import Projections

    # In memory, SQLite's database is there for one thread alone.
    result = asyncio.run(Projections(max_idle=1.0).get_result())

    assert result.check.labels == {"check": "Projections", "max_idle": "1.0"}
    assert result.time_taken >= 0


@needs_health_check
def test_a_database_that_is_away_is_told_without_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from health_check.exceptions import ServiceUnavailable

    from django_esdb.contrib.health_check import Projections

    def fail() -> Any:
        raise OperationalError(SECRET)

    monkeypatch.setattr("django_esdb.status.health.projection_statuses", fail)

    with pytest.raises(ServiceUnavailable) as caught:
        Projections().run()

    assert str(caught.value) == "Unavailable: a database cannot be used"
