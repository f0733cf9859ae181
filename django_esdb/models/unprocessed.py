"""Events that projections could not process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from django.db import models
from django.db.models.functions import Left
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_esdb.models.error_kinds import LONGEST_KIND, error_kind
from eventsourcing_eventstoredb.text import one_line

# Of an aggregate's ID, in characters.
_INDEXED = 100


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

    It was written in the transaction that moved the position past it, or discarded the
    failed event that it was. Of each projection the latest are kept.
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
