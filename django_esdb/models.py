"""What the app itself keeps in the database, besides users' read models."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.utils import timezone

from django_esdb.db.functions import DatabaseTime
from eventsourcing_eventstoredb.text import one_line


class ProjectionState(models.TextChoices):
    """
    What a projection is at, as far as its owner could say.

    A projection whose owner was killed stays «running», «retrying» or «standing by»;
    that its lease is over tells. «Failed» is one whose thread an unforeseen error has
    ended.
    """

    STOPPED = "stopped"
    RUNNING = "running"
    RETRYING = "retrying"
    STANDING_BY = "standing by", "Standing by"
    PAUSED = "paused"
    FAILED = "failed"


class ProjectionTrackingQuerySet(models.QuerySet["ProjectionTracking"]):
    """Rows of one or all projections; positions only ever grow."""

    def of(self, projection: str, application: str) -> Self:
        """Return only the row of a projection and an application."""
        return self.filter(projection=projection, application=application)

    def position(self) -> int | None:
        """Return the first row's position, None if there is none yet."""
        return self.values_list("position", flat=True).first()

    def unowned(self) -> Self:
        """Return those that no process owns, by the database's clock."""
        return self.filter(
            models.Q(leased_until__isnull=True)
            | models.Q(leased_until__lte=DatabaseTime())
        )

    def with_ownership(self) -> Self:
        """Add ``is_owned``: whether the lease is not over, by the database's clock."""
        return self.annotate(
            is_owned=models.Case(
                models.When(leased_until__gt=DatabaseTime(), then=models.Value(True)),
                default=models.Value(False),
            )
        )

    def advance(self, position: int) -> bool:
        """
        Move to *position* if that is later, in one statement.

        Returns:
            Whether a row was moved.
        """
        earlier = models.Q(position__isnull=True) | models.Q(position__lt=position)
        return self.filter(earlier)._move(position)

    def compare_and_swap(
        self,
        expected: int | None,
        position: int,
        *,
        token: int | None = None,
        **changes: Any,
    ) -> bool:
        """
        Move from exactly *expected* to *position*, in one statement.

        Args:
            token: What the lease's token has to be; None for any.
            changes: Other fields to set with it.

        Returns:
            Whether a row was moved; if not, another process has moved it, or has
            the lease.
        """
        if expected is None:
            unmoved = self.filter(position__isnull=True)
        else:
            unmoved = self.filter(position=expected)
        if token is not None:
            unmoved = unmoved.filter(token=token)
        return unmoved._move(position, **changes)

    def _move(self, position: int, **changes: Any) -> bool:
        return bool(
            self.update(position=position, updated_at=timezone.now(), **changes)
        )


class ProjectionTracking(models.Model):
    """
    How far a projection has processed an application's events, and who does it.

    Position and view's rows are written in one transaction, so they lie in one
    database, and the position says exactly which events the rows reflect.
    """

    projection = models.CharField(max_length=255)
    application = models.CharField(max_length=255)
    position = models.PositiveBigIntegerField(
        null=True,
        help_text="Notification ID of the last processed event.",
    )
    updated_at = models.DateTimeField(
        null=True, help_text="When the position was last moved."
    )

    # The last event that was processed, which may lie before the position if
    # nothing after it was the projection's.
    event_position = models.PositiveBigIntegerField(null=True)
    event_id = models.TextField(
        default="", blank=True, help_text="Tells stores apart that share an address."
    )

    owner = models.CharField(
        max_length=255,
        default="",
        blank=True,
        help_text="Host, process and a random part; empty after a clean shutdown.",
    )
    token = models.PositiveBigIntegerField(
        default=0,
        help_text="Counts owners. An owner with an earlier token cannot commit.",
    )
    leased_until = models.DateTimeField(
        null=True,
        help_text="Until when no other process takes over, by the database's clock.",
    )

    state = models.CharField(
        max_length=16,
        choices=ProjectionState.choices,
        default=ProjectionState.STOPPED,
    )
    state_since = models.DateTimeField(null=True)
    error = models.TextField(
        default="",
        blank=True,
        help_text="Why it is retrying, standing by, paused, stopped or failed.",
    )
    traceback = models.TextField(
        default="",
        blank=True,
        help_text="Where it failed, innermost last; without values.",
    )
    attempts = models.PositiveIntegerField(
        default=0, help_text="How many failed attempts the next event has had."
    )
    attempted_position = models.PositiveBigIntegerField(
        null=True,
        help_text="The event that was begun after a crash, until it is processed.",
    )
    attempted_until = models.PositiveBigIntegerField(
        null=True,
        help_text="The last event that was begun with it; none if it is alone.",
    )

    fingerprint = models.CharField(
        max_length=64,
        default="",
        blank=True,
        help_text="Of the definition that the read models were begun with.",
    )

    paused_by = models.TextField(
        default="",
        blank=True,
        editable=False,
        help_text="Where it was paused, and the fingerprints of the code that did so.",
    )

    objects = ProjectionTrackingQuerySet.as_manager()

    class Meta:
        verbose_name = "projection tracking"
        verbose_name_plural = "projection tracking"
        ordering = ("projection", "application")
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application"),
                name="django_esdb_tracking_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.projection} of {self.application} at {self.position}"

    def pausing_fingerprints(self) -> list[str]:
        """Return those of the definitions that have given up at the next event."""
        position, _, fingerprints = self.paused_by.partition(":")
        return fingerprints.split() if position == str(self.position) else []


class ProjectionEventQuerySet(models.QuerySet[Any]):
    """Events of projections that were not processed."""

    def of(self, projection: str, application: str) -> Self:
        """Return only those of a projection and an application."""
        return self.filter(projection=projection, application=application)


class FailedEventQuerySet(ProjectionEventQuerySet):
    """Events that a projection has put aside."""

    def in_order(self) -> Self:
        """Return them in the order of the application's events."""
        return self.order_by("projection", "application", "position")


class UnprocessedEvent(models.Model):
    """An event of a projection that it could not process, and why."""

    projection = models.CharField(max_length=255)
    application = models.CharField(max_length=255)
    position = models.PositiveBigIntegerField(help_text="The event's notification ID.")
    originator_id = models.TextField(help_text="The aggregate that it is of.")
    originator_version = models.BigIntegerField()
    topic = models.TextField()
    error = models.TextField(default="", blank=True, help_text="Why it failed.")
    traceback = models.TextField(
        default="",
        blank=True,
        help_text="Where it failed, innermost last; without values.",
    )

    class Meta:
        abstract = True
        ordering = ("projection", "application", "position")

    def __str__(self) -> str:
        # Pages show it where nothing else makes the store's texts safe.
        topic, aggregate = one_line(self.topic, 100), one_line(self.originator_id, 80)
        return f"{topic} of {aggregate} at {self.position}"


class FailedEvent(UnprocessedEvent):
    """
    An event that a projection has put aside, to be looked at.

    It was written in the transaction that moved the position past it. The event
    itself stays in the store; it is read from there when it is tried again.
    """

    error = models.TextField(
        default="",
        blank=True,
        help_text="Why it failed; empty if it only waits for an earlier one.",
    )
    attempts = models.PositiveIntegerField(default=0)
    parked_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True)
    retry_requested_at = models.DateTimeField(
        null=True, help_text="Since when it is to be tried in the background."
    )
    retry_requested_by = models.CharField(
        max_length=255,
        default="",
        blank=True,
        editable=False,
        help_text="Key of the user who has asked for that.",
    )

    objects = FailedEventQuerySet.as_manager()

    class Meta(UnprocessedEvent.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application", "position"),
                name="django_esdb_failed_event_unique",
            ),
        )
        permissions = (
            ("retry_failedevent", "Can retry failed event"),
            ("discard_failedevent", "Can discard failed event"),
        )


class SkippedEvent(UnprocessedEvent):
    """
    An event that a projection has left out for good, since it failed.

    It was written in the transaction that moved the position past it. Of each
    projection the latest are kept.
    """

    skipped_at = models.DateTimeField()

    objects = ProjectionEventQuerySet.as_manager()

    class Meta(UnprocessedEvent.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application", "position"),
                name="django_esdb_skipped_event_unique",
            ),
        )
