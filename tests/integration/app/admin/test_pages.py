from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DataError, IntegrityError, transaction
from django.test import Client
from eventsourcing.persistence import Tracking

from django_esdb.admin.isolation import isolate_texts
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from example_project.training_school.models import Dog, SchoolCounts

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> list[tuple[str, object]]:
    dog = Dog.objects.create(id=uuid4(), name="<b>Fido</b>", tricks=["<i>sit</i>"])
    counts = SchoolCounts.objects.create(dogs=1, tricks=1)
    DjangoTrackingRecorder("projection").insert_tracking(Tracking("App", 1234567))
    return [
        ("training_school/dog", dog.pk),
        ("training_school/schoolcounts", counts.pk),
        ("django_esdb/projectiontracking", ProjectionTracking.objects.get().pk),
    ]


def test_pages_show_rows_and_offer_no_change(
    admin_client: Client, rows: list[tuple[str, object]]
) -> None:
    for path, pk in rows:
        listed = admin_client.get(f"/admin/{path}/")
        shown = admin_client.get(f"/admin/{path}/{pk}/change/")
        assert listed.status_code == shown.status_code == 200
        for page in (listed, shown):
            text = page.content.decode()
            assert 'name="_save"' not in text
            assert "deletelink" not in text
            assert "<b>Fido" not in text
            assert "<i>sit" not in text
            assert f"/admin/{path}/add/" not in text
        assert admin_client.get(f"/admin/{path}/add/").status_code == 403
        assert admin_client.get(f"/admin/{path}/{pk}/delete/").status_code == 403
        assert admin_client.post(f"/admin/{path}/{pk}/change/", {}).status_code == 403


def test_position_is_shown_and_found(
    admin_client: Client, rows: list[tuple[str, object]]
) -> None:
    page = admin_client.get("/admin/django_esdb/projectiontracking/?q=projection")

    assert "1234567" in page.content.decode()


@pytest.mark.any_database
def test_viewing_takes_the_permission_to(
    client: Client, rows: list[tuple[str, object]]
) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    assert client.get("/admin/training_school/dog/").status_code == 403

    user.user_permissions.add(Permission.objects.get(codename="view_dog"))
    assert client.get("/admin/training_school/dog/").status_code == 200


HOSTILE = "</script><script>alert(1)</script>\"'&\u202e\x1b[2J{{ dog }}"


def test_hostile_rows_do_not_break_a_page(admin_client: Client) -> None:
    dog = Dog.objects.create(id=uuid4(), name=HOSTILE, tricks=[HOSTILE])
    row = ProjectionTracking.objects.create(
        projection=HOSTILE, application=HOSTILE, position=1
    )

    for path in (
        "training_school/dog/",
        f"training_school/dog/{dog.pk}/change/",
        "django_esdb/projectiontracking/",
        f"django_esdb/projectiontracking/{row.pk}/change/",
    ):
        page = admin_client.get(f"/admin/{path}")
        assert page.status_code == 200
        text = page.content.decode()
        assert "<script>alert(1)" not in text
        assert "&lt;script&gt;" in text
    shown = admin_client.get(f"/dogs/{dog.pk}/").content.decode()
    assert "<script>alert(1)" not in shown
    assert shown.count("{{ dog }}") == 3


def test_half_a_surrogate_pair_in_a_row_does_not_break_a_page(
    admin_client: Client,
) -> None:
    try:
        with transaction.atomic():
            dog = Dog.objects.create(id=uuid4(), name="Fido", tricks=["half \ud83d"])
    except (DataError, IntegrityError):
        # PostgreSQL refuses to store it, and so does MariaDB.
        return

    listed = admin_client.get("/admin/training_school/dog/")
    shown = admin_client.get(f"/admin/training_school/dog/{dog.pk}/change/")

    assert listed.status_code == shown.status_code == 200
    assert "half \ufffd" in shown.content.decode()


@pytest.mark.any_database
def test_where_code_failed_is_shown_as_text(admin_client: Client) -> None:
    place = (
        'Traceback:\n  File "x.py", line 7, in <lambda>\nKeyError: esdb://u:s3cret@h'
    )
    row = ProjectionTracking.objects.create(
        projection="P", application="A", position=5, state="paused", traceback=place
    )

    page = admin_client.get(f"/admin/django_esdb/projectiontracking/{row.pk}/change/")

    text = page.content.decode()
    assert (
        "<pre>Traceback:\n  File &quot;x.py&quot;, line 7, in &lt;lambda&gt;\n" in text
    )
    assert "s3cret" not in text


def test_a_name_cannot_reorder_what_stands_next_to_it(admin_client: Client) -> None:
    dog = Dog.objects.create(id=uuid4(), name="gpj\u202e.Rex\u2069<", tricks=[])

    listed = admin_client.get("/admin/training_school/dog/").text
    shown = admin_client.get(f"/admin/training_school/dog/{dog.pk}/change/").text
    history = admin_client.get(f"/admin/training_school/dog/{dog.pk}/history/").text

    safe = "gpj\u202e.Rex&lt;\u202c"
    assert f"<bdi>{safe}</bdi>" in listed
    assert f"<bdi>{safe}</bdi>" in shown
    assert "<title>gpj\ufffd.Rex\ufffd&lt; | View dog" in shown
    for page in (listed, shown, history):
        assert page.count("\u202e") == page.count("\u202c</bdi>") > 0


@pytest.mark.any_database
def test_what_is_no_text_stays_as_it_is() -> None:
    page = (
        "<!-- \u202e --><script>'\u202e'</script><a title='\u202e'>plain</a>"
        "<option value='1'>Rex\u202e</option>"
    )

    assert isolate_texts(page) == (
        "<!-- \u202e --><script>'\u202e'</script><a title='\u202e'>plain</a>"
        "<option value='1'>\u2068Rex\u202e\u202c\u2069</option>"
    )
    assert isolate_texts("<p>Rex</p>") == "<p>Rex</p>"
