"""What is built next to a projection's rows, to take their place."""

from __future__ import annotations

from django.db import models

from django_esdb.registered_names import BESIDE


def build_name(projection: str) -> str:
    """Return under which name a projection's build is tracked."""
    return projection + BESIDE


class RebuildBeside(models.Model):
    """
    A rebuild of a projection in a second set of tables, next to the rows in use.

    Written by ``rebuildprojection --beside``. Position, owner, state and error are
    those of the tracking row with the name of :func:`build_name`. The row is there for
    as long as there may be tables to drop.
    """

    projection = models.CharField(max_length=255)
    application = models.CharField(max_length=255)
    # Of the second set, those that refer to others first.
    tables = models.JSONField(default=list)
    # Fingerprint of the code and of the tables that it was begun with.
    definition = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    # When it took the rows' place or was aborted: its tables are to be dropped.
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("projection", "application"),
                name="django_esdb_beside_unique",
            ),
        )

    def __str__(self) -> str:
        return build_name(self.projection)
