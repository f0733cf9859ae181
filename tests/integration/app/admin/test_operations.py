"""What the dashboard's buttons do: asked for, permitted, noted in the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client

from django_esdb.admin import operations
from django_esdb.exceptions import ProjectionPausedError
from django_esdb.failures.pausing import pause_projection
from django_esdb.models import BY_HAND, FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.status import ProjectionStatus, projection_statuses
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection, said, text, tricks
from tests.support.supervising import (
    catch_up,
    running,
    tracking,
    wait_until,
    working,
)

pytestmark = pytest.mark.django_db(transaction=True)

NAME = TrainingSchoolProjection.name
OPERATIONS = ("pause", "resume", "retry", "accept", "rebuild", "reset")


def path(operation: str, name: str = NAME) -> str:
    return f"/admin/django_esdb/projectiontracking/operations/{operation}/{name}/"


def do(client: Client, operation: str, name: str = NAME) -> list[tuple[str, str]]:
    """Press a button, and the one of the page that it leads to."""
    before = history()
    assert client.get(path(operation, name)).status_code == 200
    # To look is to do nothing.
    assert history() == before
    page = client.post(path(operation, name), follow=True)
    assert page.redirect_chain == [("/admin/django_esdb/", 302)]
    return said(page)


def status() -> ProjectionStatus:
    [found] = [each for each in projection_statuses() if each.projection == NAME]
    return found


def history() -> list[str]:
    entries = LogEntry.objects.filter(content_type__model="projectiontracking")
    return [each.change_message for each in entries.order_by("pk")]


@pytest.mark.any_database
def test_a_projection_that_runs_is_paused_until_it_is_resumed(
    admin_client: Client, school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    with running(school_projection):
        wait_until(lambda: Dog.objects.exists())
        assert "will stand by" in text(admin_client.get(path("pause")))
        assert do(admin_client, "pause") == [("success", f"{NAME} is paused.")]
        school.add_trick("Fido", "sit")
        assert tracking().state == ProjectionState.PAUSED

    # Neither the process that ends nor the one that begins changes that.
    with working(school_projection):
        # Written by the process that has begun.
        wait_until(lambda: status().lag.events == 1)
        assert tracking().state == ProjectionState.PAUSED
        assert tricks("Fido") == []
        assert do(admin_client, "resume") == [("success", f"{NAME} is resumed.")]
        wait_until(lambda: tricks("Fido") == ["sit"])
        wait_until(lambda: tracking().state == ProjectionState.RUNNING)
    assert tracking().error == ""
    assert history() == ["Paused", "Resumed"]


@pytest.mark.any_database
def test_who_waits_until_all_is_processed_is_told_that_it_is_paused(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    assert pause_projection(school_projection)

    with pytest.raises(ProjectionPausedError, match="paused by hand"):
        catch_up(school_projection)

    assert not Dog.objects.exists()
    assert not pause_projection(school_projection)


@pytest.mark.any_database
def test_a_failed_projection_is_resumed_at_its_event(
    admin_client: Client,
    school: TrainingSchool,
    register: Callable[[OnFailure], Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    with running(register(OnFailure.STOP)) as supervisor:
        supervisor.wait_for("paused")
        page = text(admin_client.get(path("resume", "Picky")))
        assert "Why it was paused: " in page
        assert "cannot burn" in page
        monkeypatch.setattr(PickyProjection, "bad", set())
        do(admin_client, "resume", "Picky")
        wait_until(lambda: tricks("Fido") == ["burn"])


@pytest.mark.any_database
def test_failed_events_are_retried_and_the_pause_stays(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    ProjectionTracking.objects.update(state="paused", paused_by=BY_HAND)
    monkeypatch.setattr(PickyProjection, "bad", set())
    page = text(admin_client.get(path("retry", "Picky")))
    assert "3 failed events are processed again" in page
    assert "1 of them waits for an earlier one" in page

    assert do(admin_client, "retry", "Picky") == [("success", "Picky: 3 processed")]

    assert not FailedEvent.objects.exists()
    assert tracking().is_paused_by_hand


def test_a_projection_is_reset(
    admin_client: Client, school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    school.register("Rex")
    catch_up(school_projection)
    page = text(admin_client.get(path("reset")))
    # Two dogs and their counts.
    assert "3 rows are deleted." in page
    assert "<dt>Dogs</dt><dd>2</dd>" in page

    assert do(admin_client, "reset") == [
        ("success", f"{NAME} starts over; 3 rows were deleted.")
    ]

    assert not Dog.objects.exists()
    assert tracking().position is None
    assert history() == ["Reset: 3 rows deleted"]
    catch_up(school_projection)
    assert Dog.objects.count() == 2


def test_a_projection_with_very_many_rows_is_not_reset_in_a_request(
    admin_client: Client,
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "MOST_DELETED", 1)
    school.register("Fido")
    catch_up(school_projection)
    refused = (
        f"{NAME} has 2 rows, more than the 1 that a web request deletes: run manage.py "
        "resetprojection, or rebuild it in the background."
    )
    assert refused in text(admin_client.get(path("reset")))

    assert do(admin_client, "reset") == [("error", refused)]

    assert Dog.objects.count() == 1
    assert history() == []


@pytest.mark.any_database
def test_a_projection_is_rebuilt_in_the_background(
    admin_client: Client,
    school: TrainingSchool,
    school_projection: Registration,
    settings: Any,
) -> None:
    # Who runs it notices when the lease is to be renewed.
    settings.ESDB_LEASE_SECONDS = 3
    school.register("Fido")
    with working(school_projection):
        wait_until(lambda: status().lag.events == 0 and Dog.objects.exists())
        Dog.objects.update(name="another")
        page = text(admin_client.get(path("rebuild")))
        assert "2 rows are deleted." in page

        assert do(admin_client, "rebuild") == [
            ("success", f"{NAME} is rebuilt in the background.")
        ]

        wait_until(lambda: Dog.objects.filter(name="Fido").exists())
    assert history() == ["Rebuild requested"]


@pytest.mark.any_database
def test_a_rebuild_waits_for_a_process_and_is_asked_for_once(
    admin_client: Client, school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)

    said = f"{NAME} is rebuilt when a process runs it: start runprojections."
    assert do(admin_client, "rebuild") == [("warning", said)]
    said = f"{NAME}: a rebuild was requested before."
    assert do(admin_client, "rebuild") == [("info", said)]
    assert history() == ["Rebuild requested"]


@pytest.mark.any_database
@pytest.mark.parametrize("operation", ["rebuild", "reset"])
def test_what_also_resumes_says_so(
    admin_client: Client,
    school: TrainingSchool,
    school_projection: Registration,
    operation: str,
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    assert "resumed" not in text(admin_client.get(path(operation)))
    assert pause_projection(school_projection)
    assert "It is paused, and is resumed." in text(admin_client.get(path(operation)))

    do(admin_client, operation)

    assert not tracking().is_paused_by_hand


@pytest.mark.any_database
def test_a_definition_is_accepted(
    admin_client: Client, school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    ProjectionTracking.objects.update(fingerprint="0" * 64)
    assert "It is said of 2 rows." in text(admin_client.get(path("accept")))

    said = f"{NAME}: the definition of today is accepted."
    assert do(admin_client, "accept") == [("success", said)]

    assert tracking().fingerprint != "0" * 64
    assert history() == ["Definition accepted"]
    said = f"{NAME}: its definition has not changed."
    assert do(admin_client, "accept") == [("info", said)]
    assert history() == ["Definition accepted"]


@pytest.mark.any_database
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_takes_a_permission_of_its_own(
    client: Client, user: Callable[..., User], operation: str
) -> None:
    permissions = {
        each: "retry_failedevent" if each == "retry" else f"{each}_projectiontracking"
        for each in OPERATIONS
    }
    own = permissions.pop(operation)
    operator = user(*permissions.values())

    for act in (client.get, client.post):
        assert act(path(operation)).status_code == 403
    assert history() == []

    operator.delete()
    user(own)
    assert client.get(path(operation)).status_code == 200
    assert client.post(path(operation)).status_code == 302


@pytest.mark.any_database
def test_without_the_permission_to_view_nothing_can_be_done(
    client: Client, user: Callable[..., User]
) -> None:
    operator = user("pause_projectiontracking")
    operator.user_permissions.filter(codename="view_projectiontracking").delete()

    assert client.post(path("pause")).status_code == 403
    assert not ProjectionTracking.objects.filter(state="paused").exists()


@pytest.mark.any_database
def test_a_form_of_another_site_does_nothing(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    assert client.post(path("pause")).status_code == 403
    assert not ProjectionTracking.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("operation", OPERATIONS)
def test_where_there_is_nothing_to_do_the_page_says_so(
    admin_client: Client, operation: str
) -> None:
    pause_first = operation == "pause"
    if pause_first:
        do(admin_client, "pause")

    page = text(admin_client.get(path(operation)))

    assert "There is nothing to do." in page
    assert 'type="submit" value=' not in page


@pytest.mark.any_database
def test_what_is_not_there_is_not_found(admin_client: Client) -> None:
    for address in (path("pause", "Unknown"), path("delete")):
        assert admin_client.get(address).status_code == 404
        assert admin_client.post(address).status_code == 404


@pytest.mark.parametrize(
    "operation", [pytest.param("pause", marks=pytest.mark.any_database), "reset"]
)
def test_what_cannot_be_noted_is_not_done(
    admin_client: Client,
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    before = ProjectionTracking.objects.values().get()

    def refuse(*args: Any, **kwargs: Any) -> None:
        msg = "the history is full"
        raise DatabaseError(msg)

    monkeypatch.setattr("django.db.models.query.QuerySet.bulk_create", refuse)

    assert do(admin_client, operation) == [
        (
            "error",
            f"{NAME}: nothing is changed: DatabaseError: the history is full",
        )
    ]
    assert ProjectionTracking.objects.values().get() == before
    assert Dog.objects.exists()
