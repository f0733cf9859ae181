"""Databases' settings that cannot work, and times without a zone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from django_esdb.checks.databases import check_databases, check_read_models
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.management.commands import _projections
from django_esdb.models import FailedEvent
from django_esdb.moments import exact_time, parse_since, time_text
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolView
from tests.support.failed_events import (
    FAILED,
    TRACKING,
    PickyProjection,
    many_failed,
)
from tests.support.rows_app.models import BigOwner, Owner


@pytest.fixture
def changed() -> Iterator[Callable[..., list[str]]]:
    """Change the database's settings, and return the checks that find something."""
    before = copy.deepcopy(connection.settings_dict)

    def change(**changes: Any) -> list[str]:
        connection.settings_dict.update(copy.deepcopy(before))
        options = changes.pop("OPTIONS", {})
        connection.settings_dict.update(changes)
        connection.settings_dict["OPTIONS"] = {**before["OPTIONS"], **options}
        return [str(message.id) for message in check_databases()]

    yield change
    connection.settings_dict.update(before)


@pytest.fixture
def two_projections() -> Iterator[None]:
    registry.register(
        PickyProjection, application_class=TrainingSchool, view_class=TrainingSchoolView
    )
    yield
    registry.unregister(PickyProjection.name)


def test_settings_of_the_tests_are_fine(changed: Callable[..., list[str]]) -> None:
    assert changed() == []


def test_autocommit_must_be_on(changed: Callable[..., list[str]]) -> None:
    assert changed(AUTOCOMMIT=False) == ["django_esdb.E022"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only psycopg has pools")
@pytest.mark.usefixtures("two_projections")
def test_pool_has_a_connection_for_each_projection_and_one_for_leases(
    changed: Callable[..., list[str]],
) -> None:
    small = ["django_esdb.W022"]
    assert changed(OPTIONS={"pool": {"min_size": 1, "max_size": 2}}) == small
    assert changed(OPTIONS={"pool": {"min_size": 2}}) == small
    assert changed(OPTIONS={"pool": {"min_size": 1, "max_size": 3}}) == []
    assert changed(OPTIONS={"pool": {"min_size": 1, "max_size": None}}) == small
    assert changed(OPTIONS={"pool": True}) == []
    assert changed(OPTIONS={"pool": False}) == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others lock rows")
def test_sqlite_takes_its_write_lock_at_once(
    changed: Callable[..., list[str]],
) -> None:
    def of_mode(mode: str | None, name: str = "site.sqlite3") -> list[str]:
        return changed(OPTIONS={"transaction_mode": mode}, NAME=name)

    assert of_mode(None) == of_mode("deferred") == ["django_esdb.W023"]
    assert of_mode("exclusive") == []
    assert of_mode(None, ":memory:") == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others lock rows")
def test_sqlite_waits_for_its_lock(changed: Callable[..., list[str]]) -> None:
    def of_timeout(timeout: Any, name: str = "site.sqlite3") -> list[str]:
        return changed(OPTIONS={"timeout": timeout}, NAME=name)

    for wrong in (0, 0.5, -1, None, "20", True, float("nan")):
        assert of_timeout(wrong) == ["django_esdb.W026"]
    assert of_timeout(20) == of_timeout(1.0) == []
    assert of_timeout(0, ":memory:") == []


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="it is in files elsewhere")
@pytest.mark.parametrize(
    "command", ["runprojections", "showprojections", "resetprojection"]
)
def test_a_worker_with_a_database_in_memory_says_what_is_wrong(
    settings: Any, command: str
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    memory = ConnectionHandler(
        {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    )
    name = "TrainingSchoolProjection"

    with (
        patch.object(_projections, "connections", memory),
        pytest.raises(CommandError, match="'default' is SQLite in memory") as refused,
    ):
        call_command(command, name)
    # By itself Django leaves one in memory open.
    BaseDatabaseWrapper.close(memory["default"])
    assert refused.value.returncode == 2


def test_models_that_rows_cannot_take_are_found() -> None:
    class View(TrainingSchoolView):
        read_models = (Owner, BigOwner)

    assert list(check_read_models()) == []
    registry.register(
        PickyProjection, application_class=TrainingSchool, view_class=View
    )
    try:
        [message] = check_read_models()
    finally:
        registry.unregister(PickyProjection.name)
    assert message.id == "django_esdb.W024"
    assert "BigOwner" in message.msg


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "zone",
    [
        "Pacific/Auckland",
        pytest.param("UTC", marks=pytest.mark.any_database),
        "America/New_York",
    ],
)
def test_times_without_a_zone_are_shown_in_the_local_one(
    school: TrainingSchool,
    school_projection: Registration,
    admin_client: Client,
    capsys: pytest.CaptureFixture[str],
    zone: str,
) -> None:
    connection.close()
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        connection.close()
        assert acquire_lease(school_projection.tracked(), "host:1:x:y", 3600)
        expected = timezone.now() + timedelta(seconds=3600)

        # It is owned, and does not run.
        with suppress(CommandError):
            call_command("showprojections", "--json")
        [shown] = json.loads(capsys.readouterr().out)

        until = datetime.fromisoformat(shown["leased_until"])
        assert until.tzinfo is None
        assert abs(until - expected) < timedelta(minutes=1)
        page = admin_client.get(TRACKING).content.decode()
        assert time_text(until) in page

        [event] = many_failed(1)
        school_projection.tracked().queryset().update(
            event_time=event.parked_at, position=1
        )
        parked = exact_time(FailedEvent.objects.get().parked_at)
        change = f"{FAILED}{event.pk}/change/"
        dogs = reverse("admin:training_school_dog_changelist")
        for path in (f"{FAILED}groups/", change, dogs):
            assert parked in admin_client.get(path).content.decode()
        assert parse_since("2h").tzinfo is not None
    connection.close()
