"""Pages of read models: how far they are, how many rows, and nothing to change."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone

from django_esdb.admin import ReadModelAdmin, bounded_counts
from django_esdb.db import row_counts
from django_esdb.models import ProjectionLag, ProjectionTracking
from example_project.training_school.models import Dog
from tests.support.failed_events import text
from tests.support.rows_app.models import Animal, Owner

pytestmark = pytest.mark.django_db

DOGS = "/admin/training_school/dog/"
OWNERS = "/own/rows_app/owner/"


class AnimalInline(admin.TabularInline):
    model = Animal
    fields = ("name",)
    extra = 2


class CarelessOwnerAdmin(ReadModelAdmin):
    """Configured as if owners could be edited."""

    list_display = ("__str__", "visits")
    list_editable = ("visits",)
    inlines = [AnimalInline]
    save_as = True
    save_on_top = True
    search_fields = ("name",)
    actions = ("look",)

    @admin.action(description="Look at some")
    def look(self, request: Any, rows: Any) -> None:
        self.message_user(request, f"{rows.count()} looked at")


site = admin.AdminSite("own")
site.register(Owner, CarelessOwnerAdmin)
site.register(Animal, ReadModelAdmin)
urlpatterns = [path("own/", site.urls)]


@pytest.fixture
def own_site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def as_of(page: str) -> str:
    found = re.search(r'<dl class="as-of">(.*?)</dl>', page, re.DOTALL)
    return " ".join(re.sub("<[^>]*>", "", found[1]).split()) if found else ""


def paginator(page: str) -> str:
    found = re.search(r'<p class="paginator">(.*?)</p>', page, re.DOTALL)
    assert found
    return " ".join(re.sub("<[^>]*>", " ", found[1]).split())


def dogs(count: int, name: str = "Rex") -> list[Dog]:
    return Dog.objects.bulk_create(
        Dog(id=uuid4(), name=f"{name} {number}", tricks=[]) for number in range(count)
    )


def track(**lag: Any) -> None:
    tracking, _ = ProjectionTracking.objects.update_or_create(
        projection="TrainingSchoolProjection",
        application="TrainingSchool",
        defaults={
            "position": 1234567,
            "processed": 10,
            "event_time": datetime(2026, 11, 26, 9, 30, 7, tzinfo=UTC),
        },
    )
    if lag:
        values = {"head": 1234999, "measured_at": timezone.now(), **lag}
        ProjectionLag.objects.update_or_create(tracking=tracking, defaults=values)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("lag", "missing"),
    [
        ({}, "it is not known how many events are missing"),
        ({"total": 10, "is_exact": True}, "no event is missing"),
        ({"head": 1234567}, "no event is missing"),
        ({"total": 11, "is_exact": True}, "1 event is missing"),
        ({"total": 13}, "at least 3 events are missing"),
    ],
)
def test_pages_say_which_events_rows_reflect(
    admin_client: Client, lag: dict[str, Any], missing: str
) -> None:
    (dog,) = dogs(1)
    track(**lag)

    for page in (DOGS, f"{DOGS}{dog.pk}/change/"):
        said = as_of(text(admin_client.get(page)))
        assert said == (
            "TrainingSchoolProjection as of position 1234567, the last event is of "
            f"2026-11-26 09:30:07.000000 UTC; {missing}"
        )


@pytest.mark.any_database
def test_what_is_old_is_said_to_be(admin_client: Client) -> None:
    track(total=10, is_exact=True, measured_at=timezone.now() - timedelta(hours=2))

    assert "no event was missing at 2" in as_of(text(admin_client.get(DOGS)))


def test_it_takes_one_query_and_no_row(admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = text(admin_client.get(DOGS))

    assert as_of(page) == "TrainingSchoolProjection no event is processed yet"
    table = ProjectionTracking._meta.db_table
    assert sum(f"FROM {quote(table)}" in each["sql"] for each in queries) == 1


def quote(name: str) -> str:
    return connection.ops.quote_name(name)


@pytest.mark.any_database
def test_the_projection_is_linked_for_those_who_may_see_it(client: Client) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_dog"))
    client.force_login(user)
    track(total=10)

    assert "/projectiontracking/" not in text(client.get(DOGS))
    permission = Permission.objects.get(codename="view_projectiontracking")
    user.user_permissions.add(permission)
    (page,) = re.findall(
        'href="(.*/projectiontracking/.*?/change/)"', text(client.get(DOGS))
    )
    assert "1234567" in text(client.get(page))


@pytest.mark.any_database
def test_models_of_no_projection_say_nothing(
    admin_client: Client, own_site: None
) -> None:
    assert 'class="as-of"' not in text(admin_client.get(OWNERS))


def test_few_rows_are_counted(admin_client: Client) -> None:
    dogs(3)

    assert paginator(text(admin_client.get(DOGS))) == "3 dogs"
    page = text(admin_client.get(f"{DOGS}?q=Rex+1"))
    assert paginator(page) == "1 dog Show all"
    assert "(<a" not in page


def test_pages_have_numbers(admin_client: Client) -> None:
    dogs(101)

    page = text(admin_client.get(f"{DOGS}?p=2"))

    assert paginator(page) == "1 2 101 dogs Show all"
    assert page.count("action-checkbox") == 0
    assert paginator(text(admin_client.get(f"{DOGS}?all="))) == "101 dogs"


def test_many_rows_are_estimated(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_counts, "MOST_COUNTED", 150)
    monkeypatch.setattr(bounded_counts, "estimated_rows", lambda *_: 5000)
    dogs(160)

    with CaptureQueriesContext(connection) as queries:
        page = text(admin_client.get(DOGS))

    assert paginator(page) == "1 2 3 4 … 49 50 about 5000 dogs"
    assert not [each for each in queries if "COUNT(*)" in each["sql"]]


def test_pages_go_on_where_there_are_more_rows_than_estimated(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_counts, "MOST_COUNTED", 150)
    monkeypatch.setattr(bounded_counts, "estimated_rows", lambda *_: 250)
    dogs(450)

    def listed(number: int) -> str:
        return paginator(text(admin_client.get(f"{DOGS}?p={number}")))

    assert listed(2) == "1 2 3 about 250 dogs"
    # Of the last page that is known it is asked what follows.
    assert listed(3) == "1 2 3 4 about 351 dogs"
    assert listed(4) == "1 2 3 4 5 about 450 dogs"
    # It ends at the last row.
    assert listed(5) == "1 2 3 4 5 about 450 dogs"
    assert admin_client.get(f"{DOGS}?p=6").status_code == 302


def test_what_is_found_is_counted_up_to_a_limit(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_counts, "MOST_COUNTED", 150)
    monkeypatch.setattr(bounded_counts, "estimated_rows", lambda *_: 5000)
    dogs(151)
    dogs(150, "Fido")

    found = text(admin_client.get(f"{DOGS}?q=Rex"))
    exact = text(admin_client.get(f"{DOGS}?q=Fido"))

    assert paginator(found) == "1 2 more than 150 dogs Show all"
    assert paginator(exact) == "1 2 150 dogs Show all"


def test_a_table_that_was_never_analysed_is_counted_up_to_a_limit(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_counts, "MOST_COUNTED", 2)
    monkeypatch.setattr(bounded_counts, "estimated_rows", lambda *_: None)
    dogs(3)

    assert paginator(text(admin_client.get(DOGS))) == "more than 2 dogs"


@pytest.mark.django_db(transaction=True)
def test_databases_estimate_what_they_have_analysed() -> None:
    dogs(500)
    table = Dog._meta.db_table
    command = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
    with connection.cursor() as cursor:
        cursor.execute(f"{command} {quote(table)}")
        cursor.fetchall() if connection.vendor == "mysql" else None

    estimate = row_counts.estimated_rows(Dog, "default")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_stat1")

    assert estimate is not None
    assert 250 <= estimate <= 1_000


def test_what_has_no_estimate_has_none() -> None:
    estimate = row_counts.estimated_rows(Dog, "default")

    # Other tests have analysed it, or it is not known to be empty.
    assert estimate is None or estimate >= 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "vendor", "oracle")
        assert row_counts.estimated_rows(Dog, "default") is None


@pytest.mark.any_database
def test_a_careless_configuration_lets_nothing_be_changed(
    admin_client: Client, own_site: None
) -> None:
    owner = Owner.objects.create(name="Ann", visits=3)
    animal = Animal.objects.create(name="Rex", owner=owner)
    form = f"{OWNERS}Ann/change/"
    management = {
        "animal_set-TOTAL_FORMS": "2",
        "animal_set-INITIAL_FORMS": "1",
        "animal_set-MIN_NUM_FORMS": "0",
        "animal_set-MAX_NUM_FORMS": "1000",
        "animal_set-0-id": str(animal.pk),
        "animal_set-0-owner": "Ann",
        "animal_set-0-name": "Changed",
        "animal_set-0-DELETE": "on",
        "animal_set-1-name": "Added",
    }
    posts: list[tuple[str, dict[str, str], int]] = [
        (form, {"name": "Ann", "visits": "4", "_save": "", **management}, 403),
        (form, {"name": "Bob", "visits": "4", "_saveasnew": "", **management}, 403),
        (form, {"name": "Ann", "_continue": "", **management}, 403),
        (f"{form}?_popup=1", {"name": "Ann", "_popup": "1", **management}, 403),
        (f"{OWNERS}add/", {"name": "Bob", "visits": "4", **management}, 403),
        (f"{OWNERS}add/?_popup=1", {"name": "Bob", "_popup": "1"}, 403),
        (f"{OWNERS}Ann/delete/", {"post": "yes"}, 403),
        (
            OWNERS,
            {
                "form-TOTAL_FORMS": "1",
                "form-INITIAL_FORMS": "1",
                "form-0-name": "Ann",
                "form-0-visits": "4",
                "_save": "Save",
            },
            403,
        ),
        (
            OWNERS,
            {"action": "delete_selected", "_selected_action": "Ann", "post": "yes"},
            302,
        ),
        (
            OWNERS,
            {
                "action": "delete_selected",
                "select_across": "1",
                "index": "0",
                "_selected_action": "Ann",
                "post": "yes",
            },
            302,
        ),
    ]
    for address, data, status in posts:
        assert admin_client.post(address, data).status_code == status, (address, data)
    for address in (f"{OWNERS}add/", f"{OWNERS}Ann/delete/"):
        assert admin_client.get(address).status_code == 403

    assert list(Owner.objects.values_list("name", "visits")) == [("Ann", 3)]
    assert list(Animal.objects.values_list("name", flat=True)) == ["Rex"]


@pytest.mark.any_database
def test_a_careless_configuration_offers_nothing_to_change(
    admin_client: Client, own_site: None
) -> None:
    owner = Owner.objects.create(name="Ann", visits=3)
    Animal.objects.create(name="Rex", owner=owner)

    listed = text(admin_client.get(OWNERS))
    shown = text(admin_client.get(f"{OWNERS}Ann/change/"))

    assert "delete_selected" not in listed
    assert "Look at some" in listed
    for page in (listed, shown):
        content = page.partition('id="content"')[2]
        # What is sent off is a search or an action.
        names = set(re.findall(r'<(?:input|textarea)[^>]* name="(.*?)"', content))
        assert not {each for each in names if "visits" in each or "-name" in each}
        assert "_save" not in content
        assert "deletelink" not in content
        assert "addlink" not in content


@pytest.mark.any_database
def test_viewing_takes_no_other_permission(client: Client, own_site: None) -> None:
    owner = Owner.objects.create(name="Ann", visits=3)
    animal = Animal.objects.create(name="Rex", owner=owner)
    user = User.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    pages = (
        OWNERS,
        f"{OWNERS}?q=Ann",
        f"{OWNERS}Ann/change/",
        f"{OWNERS}Ann/history/",
        f"/own/rows_app/animal/{animal.pk}/change/",
    )
    for page in pages:
        assert client.get(page).status_code == 403, page

    chosen = Permission.objects.filter(codename__in=("view_owner", "view_animal"))
    user.user_permissions.add(*chosen)
    for page in pages:
        assert client.get(page).status_code == 200, page
    assert client.post(f"{OWNERS}Ann/change/", {"visits": 4}).status_code == 403
    page = client.post(
        OWNERS, {"action": "look", "_selected_action": "Ann"}, follow=True
    )
    assert "1 looked at" in text(page)
