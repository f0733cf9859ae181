"""How far projections are behind, as workers have measured it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_esdb.models.tracking import ProjectionTracking

# Of a projection, one for each minute.
SAMPLES = 60


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
        # It is not to be edited.
        default_permissions = ()

    def __str__(self) -> str:
        return gettext("lag of %(tracking)s") % {"tracking": self.tracking_id}


class ProjectionSample(models.Model):
    """
    How far a projection was behind, and how fast it was, in a minute of the last hour.

    Written by the worker that measures the lag, once a minute. A minute has the row
    of the one an hour before, so that there are never more than :data:`SAMPLES` of a
    projection.
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
        # It is not to be edited.
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("tracking", "slot"), name="django_esdb_sample_unique"
            ),
        )

    def __str__(self) -> str:
        return gettext("sample of %(tracking)s") % {"tracking": self.tracking_id}
