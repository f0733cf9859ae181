"""Reading and moving positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    pass


class ProjectionTrackingQuerySet(models.QuerySet["ProjectionTracking"]):
    """Rows of one or all projections; positions only ever grow."""

    def of(self, projection: str, application: str) -> ProjectionTrackingQuerySet:
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
    def _move(rows: ProjectionTrackingQuerySet, position: int) -> bool:
        return bool(rows.update(position=position, updated_at=timezone.now()))
