"""Where the events have failed that a projection has put aside."""

from __future__ import annotations

from dataclasses import dataclass

from django_esdb.models import FailedEvent
from django_esdb.status.status import ProjectionStatus, shown, shown_lines

# Of a projection; the admin lists all.
_MOST_PLACES = 10


@dataclass(frozen=True)
class FailedPlace:
    """
    A failed event, and where it failed.

    Attributes:
        text: Which event it is and why it failed, in a line.
        traceback: Where, innermost last; may be empty.
    """

    text: str
    traceback: str


def failed_places(status: ProjectionStatus) -> list[FailedPlace]:
    """
    Return the first events that a projection has put aside, in order.

    Those that only wait for others are left out.

    Raises:
        django.db.Error: The database cannot be used.
    """
    if status.database is None:
        return []
    events = FailedEvent.objects.using(status.database).of(
        status.projection, status.application
    )
    return [
        FailedPlace(
            f"failed event {event.pk} at {event.position}: {shown(event.error)}",
            shown_lines(event.traceback),
        )
        for event in events.in_order().exclude(error="")[:_MOST_PLACES]
    ]
