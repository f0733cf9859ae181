"""Lists of failed events: pages, groups and searches, however many there are."""

from __future__ import annotations

import re
from html import unescape
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from django_esdb.admin import failed_event_groups, failed_event_list, failed_events
from django_esdb.failures.attempts import note_failure
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, ProjectionTracking
from tests.support.database_work import Work, work
from tests.support.failed_events import (
    FAILED,
    HOSTILE,
    PickyProjection,
    act,
    many_failed,
    said,
    text,
)

pytestmark = pytest.mark.django_db

GROUPS = f"{FAILED}groups/"
SIZE = 100


def numbers(page: Any) -> list[int]:
    return [event.pk for event in page.context["cl"].result_list]


def following(page: Any) -> str:
    """Return the address of the next page; empty if there is none."""
    found = re.search(r'<a href="([^"]*)" rel="next">', text(page))
    return f"{FAILED}{unescape(found[1])}" if found else ""


def walk(client: Client, path: str) -> list[list[int]]:
    """Return the numbers on each page."""
    pages = []
    while path:
        page = client.get(path)
        pages.append(numbers(page))
        path = following(page)
    return pages


def groups(page: Any) -> list[list[str]]:
    """Return what the rows of groups say."""
    rows = re.findall(r"<tr>(.*?)</tr>", text(page).partition("<tbody>")[2], re.DOTALL)
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows)
    return [[unescape(re.sub("<[^>]*>", "", each)) for each in row] for row in cells]


def test_pages_follow_each_other_to_the_last_event(admin_client: Client) -> None:
    events = many_failed(2 * SIZE + 1)

    pages = walk(admin_client, FAILED)

    keys = [event.pk for event in FailedEvent.objects.order_by("pk")]
    assert len(events) == len(keys)
    assert pages == [keys[:SIZE], keys[SIZE : 2 * SIZE], keys[2 * SIZE :]]
    first = admin_client.get(FAILED)
    assert "201 failed events" in text(first)
    assert "First page" not in text(first)
    assert "First page" in text(admin_client.get(following(first)))


@pytest.mark.any_database
def test_a_page_keeps_its_filters(admin_client: Client) -> None:
    many_failed(SIZE + 1)
    many_failed(SIZE + 1, projection="Other")

    for query in ("projection=Other", "projection=Other&application=TrainingSchool"):
        pages = walk(admin_client, f"{FAILED}?{query}")
        found = FailedEvent.objects.filter(projection="Other").order_by("pk")
        assert [pk for page in pages for pk in page] == [event.pk for event in found]
    # Another filter begins with the first page.
    second = text(admin_client.get(following(admin_client.get(FAILED))))
    links = re.findall(r'<a href="(\?[^"]*waits=[^"]*)"', second)
    assert links
    assert not any("after" in link for link in links)


@pytest.mark.any_database
@pytest.mark.parametrize("after", ["x", "-1", "9" * 40, "\N{DEVANAGARI DIGIT ONE}"])
def test_a_place_that_is_none_is_the_first_page(
    admin_client: Client, after: str
) -> None:
    (event,) = many_failed(1)

    page = admin_client.get(FAILED, {"after": after})

    assert [each.position for each in page.context["cl"].result_list] == [
        event.position
    ]


def test_events_are_searched_for_in_errors_topics_and_ids(
    admin_client: Client,
) -> None:
    many_failed(3)
    many_failed(1, error="IntegrityError: Name 50% taken")
    many_failed(1, topic="school:Cat.Registered")

    def found(query: str) -> list[int]:
        page = admin_client.get(FAILED, {"q": query})
        return [event.position for event in page.context["cl"].result_list]

    assert found("name 50%") == [3]
    assert found("keyerror cat.reg") == [4]
    assert found("dog-2") == [2]
    assert found("5_%") == []


def test_a_search_goes_on_where_it_has_looked_at_enough(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_event_list, "MOST_LOOKED_AT", 4)
    many_failed(9)
    many_failed(1, error="RuntimeError: rare")
    (last,) = FailedEvent.objects.filter(position=9)

    page = admin_client.get(FAILED, {"q": "rare"})

    assert numbers(page) == []
    assert "So many events were looked at" in text(page)
    assert walk(admin_client, f"{FAILED}?q=rare") == [[], [], [last.pk]]
    assert "1 failed event" not in text(page)


def test_counts_end_somewhere(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_event_list, "MOST_COUNTED", 2)
    monkeypatch.setattr(failed_event_list, "estimated_rows", lambda *_: 1234)
    many_failed(3)

    listed = text(admin_client.get(FAILED))
    of_one = text(admin_client.get(f"{FAILED}?projection=Picky"))

    assert "about 1234 failed events" in listed
    assert "more than 2 failed events" in of_one
    # All that is on the page is all that can be selected.
    assert "Select all 3" not in listed


@pytest.mark.any_database
def test_groups_lead_to_their_events(admin_client: Client) -> None:
    many_failed(3, error="KeyError: 'dog-{}'")
    many_failed(1, error="")
    many_failed(2, error="KeyError: 'dog-{}'", projection="Other")
    many_failed(1, error="ValueError: no")

    page = admin_client.get(GROUPS)

    assert [row[:3] for row in groups(page)] == [
        ["Picky", "3", "KeyError: 'dog-…'"],
        ["Other", "2", "KeyError: 'dog-…'"],
        ["Picky", "1", "not tried: an earlier event of the aggregate has failed"],
        ["Picky", "1", "ValueError: no"],
    ]
    links = re.findall(r'class="number"><a href="([^"]*)"', text(page))
    positions = [
        [
            event.position
            for event in admin_client.get(unescape(link)).context["cl"].result_list
        ]
        for link in links
    ]
    assert positions == [[0, 1, 2], [4, 5], [3], [6]]
    narrowed = text(admin_client.get(unescape(links[0])))
    assert "<dd>KeyError: &#x27;dog-…&#x27;</dd>" in narrowed
    # To what has failed last.
    latest = re.findall(r'class="time"><a href="([^"]*)"', text(page))
    assert "KeyError: &#x27;dog-2&#x27;" in text(admin_client.get(latest[0]))
    assert GROUPS in text(admin_client.get(FAILED))


def test_only_so_many_groups_and_events_are_looked_at(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_event_groups, "MOST_COUNTED", 5)
    monkeypatch.setattr(failed_event_groups, "MOST_GROUPS", 1)
    many_failed(3, error="E: a")
    many_failed(2, error="E: b")
    whole = text(admin_client.get(GROUPS))
    many_failed(2, error="E: c")

    page = admin_client.get(GROUPS)

    assert "There are more groups" in whole
    assert "only the latest were counted" not in whole
    assert [row[1:3] for row in groups(page)] == [["2", "E: b"]]
    assert "only the latest were counted" in text(page)


@pytest.mark.any_database
def test_groups_are_for_those_who_may_see_failed_events(client: Client) -> None:
    client.force_login(User.objects.create_user("other", is_staff=True))

    assert client.get(GROUPS).status_code == 403
    assert client.post(GROUPS).status_code in (403, 405)


def test_no_failed_events_are_no_groups(admin_client: Client) -> None:
    assert "No event has failed." in text(admin_client.get(GROUPS))


def test_a_hostile_error_breaks_no_group(admin_client: Client) -> None:
    many_failed(1, error=HOSTILE.strip(), projection=HOSTILE.strip())

    shown = text(admin_client.get(GROUPS))

    assert "<script>alert" not in shown
    assert "{{ dog }}" in shown
    assert "\x1b" not in shown


def test_a_kind_is_told_anew_where_an_event_fails_again() -> None:
    many_failed(1)
    event = FailedEvent.objects.get()
    tracked = TrackedProjection("default", "Picky", "TrainingSchool")

    note_failure(tracked, event.pk, "ValueError: 7", "")

    event.refresh_from_db()
    assert event.error_kind == "ValueError: …"
    event.error = "KeyError: 8"
    event.save(update_fields=["error"])
    event.refresh_from_db()
    assert event.error_kind == "KeyError: …"


def test_events_that_have_failed_before_are_grouped_by_the_migration() -> None:
    many_failed(3, error="E: {}", error_kind="")
    many_failed(1, error="")
    migration: Any = import_module("django_esdb.migrations.0015_failed_event_kinds")

    migration.tell_kinds(apps, SimpleNamespace(connection=connection))

    kinds = FailedEvent.objects.order_by("pk").values_list("error_kind", flat=True)
    assert list(kinds) == ["E: …"] * 3 + [""]


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_of_more_events_than_fit_none_is_tried_in_the_request(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_events, "MOST_COUNTED", 2)
    PickyProjection.bad.clear()
    many_failed(1, projection="Gone")

    page = act(admin_client, FAILED, "retry", *FailedEvent.objects.all())

    unknown, left = said(page)
    assert left == (
        "warning",
        "Picky: 0 processed; 3 are left, which runprojections tries in the "
        "background, but no process runs it: start runprojections",
    )
    assert "it is not registered" in unknown[1]
    asked = FailedEvent.objects.exclude(retry_requested_at=None)
    assert {event.pk for event in asked} == {event.pk for event in parked}


def analyze() -> None:
    table = FailedEvent._meta.db_table
    command = {"postgresql": f"ANALYZE {table}", "mysql": f"ANALYZE TABLE {table}"}
    with connection.cursor() as cursor:
        cursor.execute(command.get(connection.vendor, "ANALYZE"))
        cursor.fetchall() if connection.vendor == "mysql" else None


# Some databases commit before they analyse.
@pytest.mark.django_db(transaction=True)
@pytest.mark.slow("it puts 8,000 events aside")
def test_pages_cost_the_same_with_four_times_as_many_events(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_event_list, "MOST_LOOKED_AT", 300)
    monkeypatch.setattr(failed_event_list, "MOST_COUNTED", 200)
    monkeypatch.setattr(failed_event_groups, "MOST_COUNTED", 500)
    ProjectionTracking.objects.create(projection="Picky", application="TrainingSchool")
    tracked = "projection=Picky&application=TrainingSchool"

    def measured(middle: int) -> dict[str, Work]:
        paths = {
            "all": "",
            "half way": f"?after={middle}",
            "projection": f"?{tracked}&after={middle}",
            "kind": f"?{tracked}&error_kind=KeyError%3A+%27name%27&after={middle}",
            "aggregate": "?originator_id=dog-7",
            "search": "?q=nothing",
            "waiting": "?waits=yes",
            "one": f"{middle}/change/",
        }
        found = {}
        for name, path in paths.items():
            # What is asked for once in a process.
            admin_client.get(f"{FAILED}{path}")
            with work() as found[name]:
                assert admin_client.get(f"{FAILED}{path}").status_code == 200
        return found

    def add(count: int) -> int:
        many_failed(count)
        analyze()
        return list(FailedEvent.objects.order_by("pk").values_list("pk", flat=True))[
            FailedEvent.objects.count() // 2
        ]

    few = measured(add(2_000))
    many = measured(add(6_000))

    for name, before in few.items():
        assert many[name].queries == before.queries <= 10, name
        # Trees are a little higher, and statistics another sample.
        assert many[name].amount <= before.amount * 1.3 + 200, (name, before, many)
    # What is counted is no more than half of the smaller table.
    for name in ("all", "half way", "projection", "kind", "aggregate", "one"):
        if connection.vendor != "sqlite":
            assert many[name].amount < 1_000, (name, many)


@pytest.mark.parametrize(
    "query",
    [
        "error__regex=(",
        "error__iregex=[",
        "parked_at__year=99999999",
        "parked_at__year__gte=99999999",
        "id=99999999999999999999999999",
        "position__gt=99999999999999999999999999",
        "unknown=1",
    ],
)
def test_what_the_address_asks_for_wrongly_is_no_failure(
    admin_client: Client, query: str
) -> None:
    many_failed(1)

    answer = admin_client.get(f"{FAILED}?{query}")

    assert answer.status_code in (200, 302)
    if answer.status_code == 302:
        assert answer.url == f"{FAILED}?e=1"


@pytest.mark.any_database
def test_no_page_has_characters_that_cannot_be_seen(admin_client: Client) -> None:
    [event] = many_failed(1, "a \x1b[31mred\x07\x9b error", projection="Pi\x1bcky")

    pages = [admin_client.get(FAILED), admin_client.get(f"{FAILED}{event.pk}/change/")]
    pages.append(act(admin_client, FAILED, "discard", event))

    for page in pages:
        assert re.search("[\x1b\x07\x9b]", text(page)) is None
        assert "Pi\ufffdcky" in text(page)
