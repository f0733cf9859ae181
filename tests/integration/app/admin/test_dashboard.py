"""The dashboard shows what projections are at, to whom may see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_script_prefix

from django_esdb.admin import dashboard
from django_esdb.models import FailedEvent, ProjectionSample, ProjectionTracking
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.dashboards import LONG, NAMES, fill, more_projections
from tests.support.failed_events import HOSTILE, text

pytestmark = pytest.mark.django_db

DASHBOARD = "/admin/django_esdb/"
FIGURES = "/admin/django_esdb/projectiontracking/figures/"
NAME = TrainingSchoolProjection.name


@pytest.fixture
def projections() -> Iterator[None]:
    with more_projections():
        fill()
        yield


def card(page: Any, name: str) -> str:
    """Return the part of a page that is about a projection, without tags."""
    [found] = [
        each
        for each in re.findall(r"<article.*?</article>", text(page), re.DOTALL)
        if f'title="{name}"' in each
    ]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found))


@pytest.mark.any_database
def test_each_projection_has_its_figures_without_a_script(
    admin_client: Client, projections: None
) -> None:
    page = admin_client.get(DASHBOARD)

    found = {name: card(page, name) for name in NAMES}
    assert "Running" in found[NAME]
    assert "Behind 0 events Lag 0 s Rate 3.2/s" in found[NAME]
    assert "Behind 12,480 events Lag 21 min Rate 310/s Time left 40 s" in found[LONG]
    assert "Paused" in found["Newsletter"]
    assert "no address for dog 7d0c" in found["Newsletter"]
    assert "Failed 1 Waiting 2 Owner -" in found["Invoices"]
    assert "rebuild advised" in found["Invoices"]


@pytest.mark.any_database
def test_projections_that_never_ran_are_there(admin_client: Client) -> None:
    page = admin_client.get(DASHBOARD)

    found = card(page, NAME)
    assert "Stopped since -" in found
    assert "Behind - Lag - Rate 0/s" in found
    assert "Nothing was measured in the last hour." in found


@pytest.mark.any_database
def test_figures_alone_are_what_the_page_has(
    admin_client: Client, projections: None
) -> None:
    page = admin_client.get(FIGURES)

    assert "<html" not in text(page)
    assert "Behind 12,480 events" in card(page, LONG)
    assert "no-store" in page["Cache-Control"]


@pytest.mark.any_database
def test_a_plot_says_in_words_what_it_shows(
    admin_client: Client, projections: None
) -> None:
    ProjectionSample.objects.filter(slot=3).update(events=99_000, rate=512.4)

    page = text(admin_client.get(FIGURES))

    assert (
        'aria-label="In the last hour at most 99,000 events behind, at most 512/s."'
        in page
    )


@pytest.mark.any_database
def test_it_says_since_when_figures_are_old(
    admin_client: Client, projections: None
) -> None:
    row = ProjectionTracking.objects.get(projection=NAME)
    type(row.lag).objects.update(measured_at="2026-01-02T03:04:05Z")

    found = card(admin_client.get(FIGURES), NAME)

    assert "The lag was last measured at 2026-01-02 03:04:05 UTC." in found


@pytest.mark.any_database
def test_rebuilds_are_told_of(admin_client: Client, projections: None) -> None:
    rows = ProjectionTracking.objects.filter(projection=NAME)
    rows.update(rebuild_requested_at="2026-01-02T03:04:05Z")
    assert "A rebuild is asked for" in card(admin_client.get(FIGURES), NAME)

    rows.update(rebuild_requested_at=None, position=5, replay_until=77)

    found = card(admin_client.get(FIGURES), NAME)
    assert "events up to position 77 are processed again" in found
    assert "A rebuild is asked for" not in found


@pytest.mark.any_database
def test_nothing_is_inline(admin_client: Client, projections: None) -> None:
    for page in (
        admin_client.get(DASHBOARD),
        admin_client.get(f"{DASHBOARD}projectiontracking/operations/reset/{NAME}/"),
    ):
        assert (
            re.findall(r"<script(?![^>]*src=)|<style|style=|\son\w+=", text(page)) == []
        )


@pytest.mark.any_database
def test_hostile_texts_break_nothing(admin_client: Client, projections: None) -> None:
    ProjectionTracking.objects.update(error=HOSTILE, owner=HOSTILE)

    page = text(admin_client.get(DASHBOARD))

    assert "<script>alert" not in page
    assert "\u202e" not in re.sub(r"<bdi>.*?</bdi>", "", page, flags=re.DOTALL)


def test_more_projections_cost_no_more_queries(admin_client: Client) -> None:
    fill()
    admin_client.get(FIGURES)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            admin_client.get(FIGURES)
        return len(captured)

    one = queries()
    with more_projections():
        assert queries() == one


def test_a_database_that_fails_is_told_of(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        msg = "no such table: esdb"
        raise DatabaseError(msg)

    monkeypatch.setattr(dashboard, "projection_statuses", fail)

    for path in (DASHBOARD, FIGURES):
        assert "no such table: esdb" in text(admin_client.get(path))


@pytest.mark.any_database
def test_only_who_may_view_sees_it(client: Client, projections: None) -> None:
    assert client.get(FIGURES).status_code == 302
    user = User.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    assert client.get(FIGURES).status_code == 403
    assert client.get(DASHBOARD).status_code == 404

    user.user_permissions.add(Permission.objects.get(codename="view_storedevent"))
    page = text(client.get(DASHBOARD))
    assert "Stored events" in page
    assert "esdb-dashboard" not in page
    assert client.get(FIGURES).status_code == 403


@pytest.mark.any_database
def test_buttons_are_those_that_the_user_may_use(
    client: Client, user: Callable[..., User], projections: None
) -> None:
    user("pause_projectiontracking", "retry_failedevent")

    page = text(client.get(DASHBOARD))

    names = re.findall(r"/operations/(\w+)/(\w+)/", page)
    assert sorted(names) == [
        ("pause", LONG),
        ("pause", "Invoices"),
        ("pause", NAME),
        ("retry", "Invoices"),
    ]


@pytest.mark.any_database
@pytest.mark.urls("tests.support.custom_admin")
def test_it_is_on_each_site_that_has_projections(
    admin_client: Client, projections: None
) -> None:
    page = text(admin_client.get("/ops/django_esdb/"))

    assert 'data-figures="/ops/django_esdb/projectiontracking/figures/"' in page
    assert f"/ops/django_esdb/projectiontracking/operations/pause/{NAME}/" in page
    # No link to failed events, which have no pages there.
    assert FailedEvent.objects.exists()
    assert "/failedevent/" not in page
    assert "esdb-dashboard" not in text(admin_client.get("/audit/django_esdb/"))


@pytest.mark.any_database
def test_it_is_found_behind_a_prefix(admin_client: Client) -> None:
    with override_script_prefix("/school/"):
        page = text(admin_client.get(DASHBOARD))

    assert f'data-figures="/school{FIGURES}"' in page
