"""The admin's pages in other languages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_esdb.models import FailedEvent, ProjectionTracking
from tests.support.catalogs import texts_left_in_english
from tests.support.failed_events import FAILED, TRACKING
from tests.support.projects import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.parametrize("language", ["de", "fr"])
def test_no_text_of_a_page_is_left_in_english(
    client: Client,
    parked: list[FailedEvent],
    user: Callable[..., User],
    language: str,
) -> None:
    user("retry_failedevent", "discard_failedevent", "view_skippedevent")
    file = ROOT / "django_esdb" / "locale" / language / "LC_MESSAGES" / "django.po"
    row = ProjectionTracking.objects.get()
    selected = {"action": "discard", "_selected_action": [parked[0].pk]}
    asked = {"headers": {"accept-language": language}}

    for response in (
        client.get("/admin/", **asked),
        client.get(TRACKING, **asked),
        client.get(f"{TRACKING}{row.pk}/change/", **asked),
        client.get("/admin/django_esdb/skippedevent/", **asked),
        client.get(FAILED, **asked),
        client.get(f"{FAILED}{parked[0].pk}/change/", **asked),
        client.post(FAILED, selected, **asked),
    ):
        assert response.status_code == 200
        assert f'lang="{language}"' in response.text
        assert not texts_left_in_english(response.text, file)
    assert texts_left_in_english(client.get(FAILED).text, file)


def test_headings_begin_with_a_capital_letter(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    admin_client.cookies.load({"django_language": "de"})
    event = f"{FAILED}{parked[0].pk}/"

    titles = [
        admin_client.get(page).context["title"]
        for page in (FAILED, f"{event}change/", f"{event}history/")
    ]

    assert titles[0].startswith("Fehlgeschlagenes Ereignis ")
    assert titles[1].startswith("Fehlgeschlagenes Ereignis ")
    assert [each for each in titles if not each[0].isupper()] == []
