"""How far projections have come, who runs them, and what is asked of them."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_esdb.db.functions import DatabaseTime

# In place of what has paused a projection. No code has given up then.
BY_HAND = "by hand"


class ProjectionState(models.TextChoices):
    """
    What a projection is at, as far as its owner could say.

    A projection whose owner was killed stays «running», «retrying» or «standing by»;
    that its lease is over tells. «Failed» is one whose thread an unforeseen error has
    ended.
    """

    STOPPED = "stopped", _("Stopped")
    RUNNING = "running", _("Running")
    RETRYING = "retrying", _("Retrying")
    STANDING_BY = "standing by", _("Standing by")
    PAUSED = "paused", _("Paused")
    FAILED = "failed", _("Failed")


# What a row says while a process runs the projection.
OWNED_STATES = (
    ProjectionState.RUNNING,
    ProjectionState.RETRYING,
    ProjectionState.STANDING_BY,
)


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

    projection = models.CharField(_("projection"), max_length=255)
    application = models.CharField(_("application"), max_length=255)
    position = models.PositiveBigIntegerField(
        _("position"),
        null=True,
        help_text=_("Notification ID of the last processed event."),
    )
    updated_at = models.DateTimeField(
        _("updated at"), null=True, help_text=_("When the position was last moved.")
    )

    processed = models.PositiveBigIntegerField(
        _("processed events"),
        default=0,
        # For processes with the code of before, while a new release is rolled out.
        db_default=0,
        help_text=_("How many events this was since the projection began."),
    )

    # The last event that was processed, which may lie before the position if
    # nothing after it was the projection's.
    event_position = models.PositiveBigIntegerField(_("event position"), null=True)
    event_id = models.TextField(
        _("event ID"),
        default="",
        blank=True,
        help_text=_("Tells stores apart that share an address."),
    )
    event_time = models.DateTimeField(
        _("event time"),
        null=True,
        help_text=_("When the last processed event was recorded."),
    )

    owner = models.CharField(
        _("owner"),
        max_length=255,
        default="",
        blank=True,
        help_text=_("Host, process and a random part; empty after a clean shutdown."),
    )
    token = models.PositiveBigIntegerField(
        _("token"),
        default=0,
        help_text=_("Counts owners. An owner with an earlier token cannot commit."),
    )
    leased_until = models.DateTimeField(
        _("leased until"),
        null=True,
        help_text=_("Until when no other process takes over, by the database's clock."),
    )

    state = models.CharField(
        _("state"),
        max_length=16,
        choices=ProjectionState.choices,
        default=ProjectionState.STOPPED,
    )
    state_since = models.DateTimeField(_("state since"), null=True)
    error = models.TextField(
        _("error"),
        default="",
        blank=True,
        help_text=_("Why it is retrying, standing by, paused, stopped or failed."),
    )
    traceback = models.TextField(
        _("traceback"),
        default="",
        blank=True,
        help_text=_("Where it failed, innermost last; without values."),
    )
    attempts = models.PositiveIntegerField(
        _("attempts"),
        default=0,
        help_text=_("How many failed attempts the next event has had."),
    )
    attempted_position = models.PositiveBigIntegerField(
        _("attempted position"),
        null=True,
        help_text=_("The event that was begun after a crash, until it is processed."),
    )
    attempted_until = models.PositiveBigIntegerField(
        _("attempted until"),
        null=True,
        help_text=_("The last event that was begun with it; none if it is alone."),
    )

    skipped_in_a_row = models.PositiveIntegerField(
        _("skipped in a row"),
        default=0,
        # For processes with the code of before, while a new release is rolled out.
        db_default=0,
        help_text=_("How many events before the next one were all left out."),
    )

    fingerprint = models.CharField(
        _("fingerprint"),
        max_length=64,
        default="",
        blank=True,
        help_text=_("Of the definition that the read models were begun with."),
    )

    paused_by = models.TextField(
        _("paused by"),
        default="",
        blank=True,
        editable=False,
        help_text=_(
            "Where it was paused, and the fingerprints of the code that did so."
        ),
    )

    replay_until = models.PositiveBigIntegerField(
        _("replay until"),
        null=True,
        help_text=_("Up to this position events are processed once more."),
    )
    rebuild_requested_at = models.DateTimeField(
        _("rebuild requested at"),
        null=True,
        help_text=_("Since when the process that runs it is to rebuild it."),
    )
    rebuild_requested_by = models.CharField(
        _("rebuild requested by"),
        max_length=255,
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text=_("Key of the user who has asked for that."),
    )

    objects = ProjectionTrackingQuerySet.as_manager()

    class Meta:
        verbose_name = _("projection tracking")
        verbose_name_plural = _("projection tracking")
        ordering = ("projection", "application")
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application"),
                name="django_esdb_tracking_unique",
            ),
        )
        permissions = (
            ("pause_projectiontracking", _("Can pause projection")),
            ("resume_projectiontracking", _("Can resume projection")),
            ("reset_projectiontracking", _("Can reset projection")),
            ("rebuild_projectiontracking", _("Can rebuild projection")),
            ("accept_projectiontracking", _("Can accept projection's definition")),
        )

    def __str__(self) -> str:
        return gettext("%(projection)s of %(application)s at %(position)s") % {
            "projection": self.projection,
            "application": self.application,
            "position": self.position,
        }

    @property
    def is_replaying(self) -> bool:
        """Whether the next events were processed before, or are being rebuilt from."""
        if self.replay_until is None:
            return False
        return self.position is None or self.position < self.replay_until

    @property
    def is_paused_by_hand(self) -> bool:
        """Whether a user has paused it, so that no start of a process resumes it."""
        return self.state == ProjectionState.PAUSED and self.paused_by == BY_HAND

    def pausing_fingerprints(self) -> list[str]:
        """Return those of the definitions that have given up at the next event."""
        position, _, fingerprints = self.paused_by.partition(":")
        return fingerprints.split() if position == str(self.position) else []
