"""A projection that fails for some events, and the admin's pages about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import Client
from eventsourcing.persistence import Tracking

from django_esdb.registry import Registration
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection

TRACKING = "/admin/django_esdb/projectiontracking/"
FAILED = "/admin/django_esdb/failedevent/"
HOSTILE = "</script><script>alert(1)</script>\"'&\u202e\x1b[2J{{ dog }}\n"
SECRET = "s3cret-w0rd"

MakeRegistration = Callable[..., Registration]


class PickyProjection(TrainingSchoolProjection):
    """Fails for some tricks."""

    name = "Picky"
    bad: set[str] = set()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if trick in self.bad:
            msg = f"cannot {trick} <b>at all</b>"
            raise RuntimeError(msg)


def act(client: Client, path: str, action: str, *rows: Any, **data: str) -> Any:
    """Choose an action for rows, and return the page that is shown then."""
    return client.post(
        path,
        {"action": action, "_selected_action": [row.pk for row in rows], **data},
        follow=True,
    )


def said(page: Any) -> list[tuple[str, str]]:
    return [(m.level_tag, m.message) for m in page.context["messages"]]


def text(page: Any) -> str:
    assert page.status_code == 200
    return page.content.decode()


def tricks(name: str) -> list[str]:
    return list(Dog.objects.get(name=name).tricks)
