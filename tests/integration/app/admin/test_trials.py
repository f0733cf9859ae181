"""The page that shows what a retry of a failed event would do, and does nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from eventsourcing.persistence import Tracking

from django_esdb.applications.shared import close_applications
from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registry import registry
from example_project.training_school.models import Dog
from tests.support.failed_events import (
    FAILED,
    HOSTILE,
    PickyProjection,
    text,
    tricks,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _busy_machine(settings: Any) -> None:
    """Have pages wait for longer, since tests share the machine."""
    settings.ESDB_WEB_DEADLINE = 60.0


def trial(client: Client, event: FailedEvent) -> Any:
    return client.post(f"{FAILED}{event.pk}/trial/")


def cells(page: str) -> list[str]:
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page.partition("<tbody>")[2])


def test_what_would_change_is_shown_and_nothing_changes(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    PickyProjection.bad.clear()
    before = list(ProjectionTracking.objects.values())
    fido = Dog.objects.get(name="Fido")

    page = text(trial(admin_client, parked[0]))

    assert "It would change 2 rows" in page
    assert cells(page)[:5] == [
        *("updated", f"training_school.Dog {fido.pk}", "tricks"),
        *("[]", "[&quot;burn&quot;]"),
    ]
    assert f'href="{FAILED}{parked[0].pk}/change/"' in page
    assert tricks("Fido") == []
    assert FailedEvent.objects.count() == 3
    assert list(ProjectionTracking.objects.values()) == before
    assert not LogEntry.objects.exists()


@pytest.mark.any_database
def test_what_would_fail_again_says_where(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    page = text(trial(admin_client, parked[0]))

    assert "It would fail again" in page
    assert "RuntimeError: cannot burn &lt;b&gt;at all&lt;/b&gt;" in page
    assert "failed_events.py" in page
    assert list(FailedEvent.objects.values_list("attempts", flat=True)) == [1, 0, 1]


@pytest.mark.any_database
def test_it_takes_a_permission_and_a_post(
    client: Client, parked: list[FailedEvent], user: Callable[..., User]
) -> None:
    operator = user("retry_failedevent", "discard_failedevent", "view_payload")
    assert trial(client, parked[0]).status_code == 403
    operator.delete()
    operator = user("debug_failedevent")

    assert trial(client, parked[0]).status_code == 200
    assert client.get(f"{FAILED}{parked[0].pk}/trial/").status_code == 405
    assert trial(client, FailedEvent(pk=10**6)).status_code == 302
    operator.user_permissions.remove(
        operator.user_permissions.get(codename="view_failedevent")
    )
    assert trial(client, parked[0]).status_code == 403


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("codename", "redaction", "sees"),
    [
        ("retry_failedevent", "", False),
        ("view_payload", "", True),
        # What is not shown of payloads is in rows, too.
        (
            "view_payload",
            "tests.integration.app.admin.test_failed_event_page.hide",
            False,
        ),
        ("view_dog", "tests.integration.app.admin.test_failed_event_page.hide", True),
    ],
)
def test_values_are_for_who_may_see_them(
    client: Client,
    parked: list[FailedEvent],
    user: Callable[..., User],
    settings: Any,
    codename: str,
    redaction: str,
    sees: bool,
) -> None:
    settings.ESDB_PAYLOAD_REDACTION = redaction
    PickyProjection.bad.clear()
    user("debug_failedevent", codename)

    page = text(trial(client, parked[0]))

    dog = cells(page)[:5]
    assert (dog[0], dog[2]) == ("updated", "tricks")
    assert (dog[4] == "[&quot;burn&quot;]") is sees
    assert ("burn" in page.partition("<tbody>")[2]) is sees
    # The counts are another model's rows.
    assert ("You may not see all of the values" in page) is (
        codename != "view_payload" or not sees
    )


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have the handler wait, until the event is set."""
    goes_on = threading.Event()
    usual = PickyProjection.process_event

    def process_event(self: Any, event: Any, tracking: Tracking) -> None:
        usual(self, event, tracking)
        goes_on.wait(120)

    monkeypatch.setattr(PickyProjection, "process_event", process_event)
    yield goes_on
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "dry-run":
            thread.join(60)


def test_a_handler_that_hangs_holds_up_neither_the_page_nor_others(
    admin_client: Client,
    parked: list[FailedEvent],
    hanging: threading.Event,
    settings: Any,
) -> None:
    PickyProjection.bad.clear()
    settings.ESDB_WEB_DEADLINE = 1.0

    page = text(trial(admin_client, parked[0]))

    assert "and is undone" in page
    # Other connections can write.
    Dog.objects.filter(name="Fido").update(name="Rover")
    ProjectionTracking.objects.update(token=7)
    assert tricks("Rover") == []


@pytest.mark.any_database
def test_a_store_that_is_away_is_told(
    admin_client: Client, parked: list[FailedEvent], settings: Any
) -> None:
    close_applications()
    settings.ESDB_URI = "esdb://admin:s3cret-w0rd@127.0.0.1:1?Tls=false"

    page = text(trial(admin_client, parked[0]))

    assert "127.0.0.1:1" in page
    assert "s3cret-w0rd" not in page


@pytest.mark.any_database
def test_a_projection_that_is_not_registered_is_told(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    registry._registry.pop("Picky")

    assert "it is not registered for" in text(trial(admin_client, parked[0]))


@pytest.mark.any_database
def test_stored_text_cannot_become_a_part_of_the_page(
    admin_client: Client, parked: list[FailedEvent], school: Any
) -> None:
    PickyProjection.bad.clear()
    position = school.add_trick("Fido", HOSTILE)
    event = parked[0]
    FailedEvent.objects.filter(pk=event.pk).update(
        position=position, originator_version=event.originator_version + 2
    )

    page = text(trial(admin_client, event))

    assert "It would change 2 rows" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
