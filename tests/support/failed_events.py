"""A projection that fails for some events, and the admin's pages about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.test import Client
from django.utils import timezone
from eventsourcing.persistence import Tracking

from django_esdb.models import FailedEvent
from django_esdb.models.error_kinds import error_kind
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


class StuckProjection(TrainingSchoolProjection):
    """Fails at each trick."""

    name = "Stuck"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if hasattr(domain_event, "trick"):
            msg = "no trick"
            raise RuntimeError(msg)
        super().process_event(domain_event, tracking)


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


def many_failed(
    count: int, error: str = "KeyError: 'name'", **fields: Any
) -> list[FailedEvent]:
    """
    Put so many events aside, each of an aggregate of its own.

    Args:
        error: Of each; what is in it as ``{}`` is the event's position.
    """
    begin = FailedEvent.objects.count()
    errors = [error.replace("{}", str(begin + number)) for number in range(count)]
    return FailedEvent.objects.bulk_create(
        FailedEvent(
            **{
                "projection": "Picky",
                "application": "TrainingSchool",
                "position": begin + number,
                "originator_id": f"dog-{begin + number}",
                "originator_version": 1,
                "topic": "school:Dog.TrickAdded",
                "error": each,
                "error_kind": error_kind(each),
                "parked_at": timezone.now(),
                **fields,
            }
        )
        for number, each in enumerate(errors)
    )
