"""What the app itself keeps in the database, beside users' read models."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.utils import timezone


class ProjectionTrackingQuerySet(models.QuerySet["ProjectionTracking"]):
    """Rows of one or all projections; positions only ever grow."""

    def of(self, projection: str, application: str) -> Self:
        """Return only the row of a projection and an application."""
        return self.filter(projection=projection, application=application)

    def position(self) -> int | None:
        """Return the first row's position, None if there is none yet."""
        return self.values_list("position", flat=True).first()

    def advance(self, position: int) -> bool:
        """
        Move to *position* if that is later, in one statement.

        Returns:
            Whether a row was moved.
        """
        earlier = models.Q(position__isnull=True) | models.Q(position__lt=position)
        return self._move(self.filter(earlier), position)

    def compare_and_swap(self, expected: int | None, position: int) -> bool:
        """
        Move from exactly *expected* to *position*, in one statement.

        Returns:
            Whether a row was moved; if not, somebody else has moved it.
        """
        if expected is None:
            unmoved = self.filter(position__isnull=True)
        else:
            unmoved = self.filter(position=expected)
        return self._move(unmoved, position)

    @staticmethod
    def _move(rows: models.QuerySet[ProjectionTracking], position: int) -> bool:
        return bool(rows.update(position=position, updated_at=timezone.now()))


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
        help_text="Notification ID of the last processed event.",
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
