"""What the app itself keeps in the database, besides users' read models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.db import models
from django.db.models.functions import Left
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_esdb.db.functions import DatabaseTime
from django_esdb.error_kinds import LONGEST_KIND, error_kind
from eventsourcing_eventstoredb.text import one_line

# Of an aggregate's ID, in characters.
_INDEXED = 100
# Of a projection, one for each minute.
SAMPLES = 60
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
        """Whether somebody has paused it, so that no start of a process resumes it."""
        return self.state == ProjectionState.PAUSED and self.paused_by == BY_HAND

    def pausing_fingerprints(self) -> list[str]:
        """Return those of the definitions that have given up at the next event."""
        position, _, fingerprints = self.paused_by.partition(":")
        return fingerprints.split() if position == str(self.position) else []


class ProjectionLag(models.Model):
    """
    How far an application's events go, as a worker has measured it.

    A row of its own, which any worker may write without waiting for the transaction
    of the projection's owner. It names the projection's row without a constraint, for
    which a database would lock that one.

    What is behind is the difference of :attr:`total` and the events that the
    projection has processed, so it is right again as soon as these are committed.
    """

    tracking = models.OneToOneField(
        ProjectionTracking,
        models.CASCADE,
        primary_key=True,
        related_name="lag",
        db_constraint=False,
        verbose_name=_("projection tracking"),
    )
    head = models.PositiveBigIntegerField(
        _("head"), null=True, help_text=_("Position of the event store's last event.")
    )
    head_time = models.DateTimeField(_("head's time"), null=True)
    reached_time = models.DateTimeField(
        _("reached time"),
        null=True,
        help_text=_("Of the last head up to which nothing was left to process."),
    )
    total = models.PositiveBigIntegerField(
        _("total"),
        null=True,
        help_text=_("How many events will be processed when it has caught up."),
    )
    is_exact = models.BooleanField(
        _("exact"),
        default=False,
        help_text=_("Whether it is just so many, and not at least."),
    )
    rate = models.FloatField(
        _("rate"), default=0.0, help_text=_("Events a second, over the last minute.")
    )
    speed = models.FloatField(
        _("speed"), default=0.0, help_text=_("Positions a second, likewise.")
    )
    measured_at = models.DateTimeField(_("measured at"), null=True)
    unknown_since = models.DateTimeField(
        _("unknown since"),
        null=True,
        help_text=_("Since when the event store could not be asked."),
    )

    class Meta:
        verbose_name = _("projection lag")
        verbose_name_plural = _("projection lags")
        # Nobody is to edit it.
        default_permissions = ()

    def __str__(self) -> str:
        return gettext("lag of %(tracking)s") % {"tracking": self.tracking_id}


class ProjectionSample(models.Model):
    """
    How far a projection was behind, and how fast it was, in a minute of the last hour.

    Written by whoever measures the lag, once a minute. A minute has the row of the one
    an hour before, so that there are never more than :data:`SAMPLES` of a projection.
    """

    tracking = models.ForeignKey(
        ProjectionTracking,
        models.CASCADE,
        related_name="samples",
        # As for the lag.
        db_constraint=False,
        verbose_name=_("projection tracking"),
    )
    slot = models.PositiveSmallIntegerField(
        _("slot"), help_text=_("Which minute of the hour it is.")
    )
    taken_at = models.DateTimeField(_("taken at"))
    events = models.PositiveBigIntegerField(
        _("events behind"),
        null=True,
        help_text=_("At least so many; empty if that was not known."),
    )
    seconds = models.FloatField(_("seconds behind"), null=True)
    rate = models.FloatField(
        _("rate"), default=0.0, help_text=_("Events a second, over the last minute.")
    )

    class Meta:
        verbose_name = _("projection sample")
        verbose_name_plural = _("projection samples")
        # Nobody is to edit it.
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("tracking", "slot"), name="django_esdb_sample_unique"
            ),
        )

    def __str__(self) -> str:
        return gettext("sample of %(tracking)s") % {"tracking": self.tracking_id}


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

    def of_aggregates(self, originator_ids: Iterable[str]) -> Self:
        """
        Return only those of some aggregates.

        Not every database tells upper from lower case, so others may be among them.
        """
        ids = set(originator_ids)
        # This one has an index, which no text without a limit can have everywhere.
        beginnings = {each[:_INDEXED] for each in ids}
        return self.filter(originator_beginning__in=beginnings, originator_id__in=ids)


class UnprocessedEvent(models.Model):
    """An event of a projection that it could not process, and why."""

    projection = models.CharField(_("projection"), max_length=255)
    application = models.CharField(_("application"), max_length=255)
    position = models.PositiveBigIntegerField(
        _("position"), help_text=_("The event's notification ID.")
    )
    originator_id = models.TextField(
        _("originator ID"), help_text=_("The aggregate that it is of.")
    )
    originator_version = models.BigIntegerField(_("originator version"))
    topic = models.TextField(_("topic"))
    error = models.TextField(
        _("error"), default="", blank=True, help_text=_("Why it failed.")
    )
    traceback = models.TextField(
        _("traceback"),
        default="",
        blank=True,
        help_text=_("Where it failed, innermost last; without values."),
    )

    class Meta:
        abstract = True
        ordering = ("projection", "application", "position")

    def __str__(self) -> str:
        # Pages show it where nothing else makes the store's texts safe.
        topic, aggregate = one_line(self.topic, 100), one_line(self.originator_id, 80)
        return gettext("%(topic)s of %(aggregate)s at %(position)s") % {
            "topic": topic,
            "aggregate": aggregate,
            "position": self.position,
        }


class FailedEvent(UnprocessedEvent):
    """
    An event that a projection has put aside, to be looked at.

    It was written in the transaction that moved the position past it. The event
    itself stays in the store; it is read from there when it is tried again.
    """

    error = models.TextField(
        _("error"),
        default="",
        blank=True,
        help_text=_("Why it failed; empty if it only waits for an earlier one."),
    )
    error_kind = models.CharField(
        _("kind of error"),
        max_length=LONGEST_KIND,
        default="",
        # For processes with the code of before, while a new release is rolled out.
        db_default="",
        blank=True,
        editable=False,
        help_text=_("What the errors have in common that are counted together."),
    )
    originator_beginning = models.GeneratedField(
        expression=Left("originator_id", _INDEXED),
        output_field=models.CharField(max_length=_INDEXED),
        db_persist=True,
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    parked_at = models.DateTimeField(_("parked at"))
    attempted_at = models.DateTimeField(_("attempted at"), null=True)
    retry_requested_at = models.DateTimeField(
        _("retry requested at"),
        null=True,
        help_text=_("Since when it is to be tried in the background."),
    )
    retry_requested_by = models.CharField(
        _("retry requested by"),
        max_length=255,
        default="",
        blank=True,
        editable=False,
        help_text=_("Key of the user who has asked for that."),
    )

    objects = FailedEventQuerySet.as_manager()

    class Meta(UnprocessedEvent.Meta):
        verbose_name = _("failed event")
        verbose_name_plural = _("failed events")
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application", "position"),
                name="django_esdb_failed_event_unique",
            ),
        )
        # Each page of a list ends with the last number that it has shown.
        indexes = (
            models.Index(
                fields=("projection", "application", "error_kind", "id"),
                name="django_esdb_failed_kind",
            ),
            models.Index(
                fields=("projection", "id"), name="django_esdb_failed_projection"
            ),
            models.Index(
                fields=("originator_beginning", "id"),
                name="django_esdb_failed_aggregate",
            ),
        )
        permissions = (
            ("retry_failedevent", _("Can retry failed event")),
            ("discard_failedevent", _("Can discard failed event")),
            ("debug_failedevent", _("Can see what a retry would do")),
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.error_kind = error_kind(self.error)
        if (names := kwargs.get("update_fields")) is not None and "error" in names:
            kwargs["update_fields"] = {*names, "error_kind"}
        super().save(*args, **kwargs)


class SkippedEvent(UnprocessedEvent):
    """
    An event that a projection has left out for good, since it failed.

    It was written in the transaction that moved the position past it. Of each
    projection the latest are kept.
    """

    skipped_at = models.DateTimeField(_("skipped at"))

    objects = ProjectionEventQuerySet.as_manager()

    class Meta(UnprocessedEvent.Meta):
        verbose_name = _("skipped event")
        verbose_name_plural = _("skipped events")
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application", "position"),
                name="django_esdb_skipped_event_unique",
            ),
        )


class _NoRowsManager(models.Manager[models.Model]):
    """Finds nothing, and asks no database: its model has no table."""

    def get_queryset(self) -> models.QuerySet[models.Model]:
        return super().get_queryset().none()


class StoredEvent(models.Model):
    """
    An event in an event store, which no database has: for permissions and the admin.

    Nothing is read through it; :mod:`django_esdb.stored_events` reads events.
    """

    objects = _NoRowsManager()

    class Meta:
        managed = False
        # For dumpdata --all, which asks unmanaged models, too.
        base_manager_name = "objects"
        verbose_name = _("stored event")
        verbose_name_plural = _("stored events")
        default_permissions = ("view",)
        permissions = (("view_payload", _("Can view payloads and metadata")),)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
