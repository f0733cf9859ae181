"""
Who does what to projections and their failed events, in the admin's history.

An entry is written in the transaction of what it tells of, so that neither is there
without the other. Where the history is in another database, it is written before
that transaction is committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import models, router
from django.utils.translation import gettext, ngettext

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent
from eventsourcing_eventstoredb.text import one_line

# What LogEntry has for texts.
_LONGEST_NAME = 200


class Audit:
    """Notes nothing; for commands, whose users are not known."""

    user = ""

    def retried(self, event: FailedEvent, error: str) -> None:
        """Note that an event was tried, and why it failed; an empty text if not."""

    def discarded(self, events: Iterable[FailedEvent]) -> None:
        """Note that events are left out for good."""

    def resumed(self) -> None:
        """Note that the projection was paused and is resumed."""

    def paused(self) -> None:
        """Note that the projection is paused by hand."""

    def reset(self, rows: int) -> None:
        """Note that the projection starts over, and how many rows were deleted."""

    def rebuild_requested(self) -> None:
        """Note that the projection is to be rebuilt in the background."""

    def accepted(self) -> None:
        """Note that the rows are said to be right with the code of today."""

    def requested(self, count: int) -> None:
        """Note that so many events are to be tried in the background."""


class AdminAudit(Audit):
    """
    Notes in the admin's history what a user does to a projection or its failed events.

    There are two entries for each event: one of its own, and one of the projection's
    row, which stays when the event's is gone.

    Args:
        user: The user's primary key.
        tracked: The projection.
    """

    def __init__(self, user: Any, tracked: TrackedProjection) -> None:
        self.user = str(user)
        self._tracked = tracked

    def retried(self, event: FailedEvent, error: str) -> None:
        outcome = error or gettext("processed")
        said = gettext("Retried: %(outcome)s") % {"outcome": outcome}
        about = gettext("Retried failed event %(number)s, %(event)s: %(outcome)s") % {
            "number": event.pk,
            "event": event,
            "outcome": outcome,
        }
        self._write([(event, _flag("CHANGE"), said), *self._of_row(about)])

    def discarded(self, events: Iterable[FailedEvent]) -> None:
        entries: list[tuple[models.Model, int, str]] = []
        for event in events:
            about = gettext("Discarded failed event %(number)s, %(event)s") % {
                "number": event.pk,
                "event": event,
            }
            said = gettext("Discarded")
            entries += [(event, _flag("DELETION"), said), *self._of_row(about)]
        self._write(entries)

    def resumed(self) -> None:
        self._write(self._of_row(gettext("Resumed")))

    def paused(self) -> None:
        self._write(self._of_row(gettext("Paused")))

    def reset(self, rows: int) -> None:
        said = ngettext(
            "Reset: %(count)s row deleted", "Reset: %(count)s rows deleted", rows
        )
        self._write(self._of_row(said % {"count": rows}))

    def rebuild_requested(self) -> None:
        self._write(self._of_row(gettext("Rebuild requested")))

    def accepted(self) -> None:
        self._write(self._of_row(gettext("Definition accepted")))

    def requested(self, count: int) -> None:
        said = ngettext(
            "Asked for %(count)s more failed event to be retried in the background",
            "Asked for %(count)s more failed events to be retried in the background",
            count,
        )
        self._write(self._of_row(said % {"count": count}))

    def _of_row(self, message: str) -> list[tuple[models.Model, int, str]]:
        row = self._tracked.queryset().first()
        return [] if row is None else [(row, _flag("CHANGE"), message)]

    def _write(self, entries: Iterable[tuple[models.Model, int, str]]) -> None:
        from django.contrib.admin.models import LogEntry
        from django.contrib.contenttypes.models import ContentType

        LogEntry.objects.using(router.db_for_write(LogEntry)).bulk_create(
            LogEntry(
                user_id=self.user,
                content_type=ContentType.objects.get_for_model(row),
                object_id=str(row.pk),
                object_repr=one_line(str(row), _LONGEST_NAME),
                action_flag=flag,
                change_message=one_line(message),
            )
            for row, flag, message in entries
        )


def audit_of(user: str, tracked: TrackedProjection) -> Audit:
    """Return the audit for a user who has asked for something some time ago."""
    if not user or not apps.is_installed("django.contrib.admin"):
        return Audit()
    from django.contrib.auth import get_user_model

    try:
        is_there = get_user_model()._default_manager.filter(pk=user).exists()
    except (TypeError, ValueError):
        # Users have keys of another type now.
        is_there = False
    return AdminAudit(user, tracked) if is_there else Audit()


def _flag(name: str) -> int:
    # Models of other apps cannot be loaded before all apps are there.
    from django.contrib.admin import models as admin

    flag: int = getattr(admin, name)
    return flag
