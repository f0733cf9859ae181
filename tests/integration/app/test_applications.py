"""Settings and checks next to servers and databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import transaction

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.supervising import wait_until

SECONDS = 60


@pytest.mark.any_database
@pytest.mark.django_db
def test_checks_run_with_djangos(settings: Any) -> None:
    assert "django_esdb.W013" in [message.id for message in run_checks()]


@pytest.mark.any_database
@pytest.mark.django_db
def test_a_missing_address_keeps_nothing_from_being_prepared(settings: Any) -> None:
    call_command("makemigrations", dry_run=True, skip_checks=False, stdout=StringIO())
    call_command("migrate", skip_checks=False, stdout=StringIO())
    call_command("check", stderr=StringIO())

    with pytest.raises(SystemCheckError, match=r"django_esdb\.E001"):
        call_command("check", deploy=True, stderr=StringIO())
    for command in ("runprojections", "showevents"):
        with pytest.raises(CommandError, match=r"\(django_esdb\.E001\)"):
            call_command(command)


def test_applications_are_made_once_and_again_after_a_change(
    server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_URI = server.uri
    first = get_application(TrainingSchool)
    first.register("Fido")
    assert get_application(TrainingSchool) is first
    with EmbeddedServer() as other:
        settings.ESDB_URI = other.uri
        second = get_application(TrainingSchool)
        assert second is not first
        assert second.recorder.max_notification_id() is None
        close_applications()


class SlowSchool(TrainingSchool):
    """Is made when a test says so."""

    made = 0
    may_be_made = threading.Event()

    def __init__(self, env: Any = None) -> None:
        SlowSchool.made += 1
        assert self.may_be_made.wait(SECONDS)
        super().__init__(env)


def test_it_is_made_once_though_50_threads_ask(
    server: EmbeddedServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = server.uri
    monkeypatch.setattr(SlowSchool, "made", 0)
    monkeypatch.setattr(SlowSchool, "may_be_made", threading.Event())
    about_to_ask = threading.Barrier(51)
    found: list[TrainingSchool] = []

    def ask() -> None:
        about_to_ask.wait(SECONDS)
        found.append(get_application(SlowSchool))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    about_to_ask.wait(SECONDS)
    wait_until(lambda: SlowSchool.made)
    SlowSchool.may_be_made.set()
    for thread in threads:
        thread.join(SECONDS)

    assert len(found) == 50
    assert len(set(map(id, found))) == SlowSchool.made == 1
    close_applications()


def test_one_that_is_there_waits_for_no_other(
    server: EmbeddedServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = server.uri
    monkeypatch.setattr(SlowSchool, "made", 0)
    monkeypatch.setattr(SlowSchool, "may_be_made", threading.Event())
    school = get_application(TrainingSchool)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(get_application, SlowSchool)
        try:
            wait_until(lambda: SlowSchool.made)
            there = pool.submit(get_application, TrainingSchool)
            assert there.result(SECONDS) is school
            assert not slow.done()
        finally:
            SlowSchool.may_be_made.set()
    close_applications()


@pytest.mark.django_db(transaction=True)
def test_a_save_stays_when_a_transaction_of_djangos_is_rolled_back(
    server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_URI = server.uri
    school = get_application(TrainingSchool)
    school.register("Rex")

    with suppress(ZeroDivisionError), transaction.atomic():
        school.add_trick("Rex", "sit")
        1 / 0  # noqa: B018

    assert school.get_dog_details("Rex")["tricks"] == ("sit",)
