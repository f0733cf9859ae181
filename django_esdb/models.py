"""What the app itself keeps in the database, beside users' read models."""

from __future__ import annotations

from django.db import models

from django_esdb.querysets import ProjectionTrackingQuerySet


class ProjectionTracking(models.Model):
    """
    How far a projection has processed an application's events.

    Written in the same transaction as the view's rows, so it lies in their
    database, and says exactly which events they reflect.
    """

    projection = models.CharField(max_length=255)
    application = models.CharField(max_length=255)
    position = models.PositiveBigIntegerField(
        null=True,
        help_text="Notification ID of the last processed event; empty before the first.",
    )
    updated_at = models.DateTimeField(
        null=True, help_text="When the position was last moved."
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
