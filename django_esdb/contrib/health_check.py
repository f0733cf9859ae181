"""
A check for django-health-check, where that is installed, from its version 4 on.

.. code-block:: python

    HealthCheckView.as_view(checks=["django_esdb.contrib.health_check.Projections"])
"""

from __future__ import annotations

import dataclasses

from django.db import Error as DatabaseError
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from django_esdb.conf import settings
from django_esdb.db.connections import close_connections
from django_esdb.status.health import projection_health
from django_esdb.status.status import shown


@dataclasses.dataclass
class Projections(HealthCheck):  # type: ignore[misc]
    """
    Check that projections are healthy and the event store is there.

    Asks the database with one query, and not the event store.

    Args:
        max_behind: How many seconds a projection may be behind that does not move; by
            default ``ESDB_MAX_BEHIND``.
        max_idle: How many seconds ago one that is further behind may have moved last;
            by default ``ESDB_MAX_IDLE``.
    """

    max_behind: float | None = None
    max_idle: float | None = None

    def run(self) -> None:
        """
        Look at all registered projections.

        Raises:
            ServiceUnavailable: One is not ready, or a database cannot be used. The text
                has nothing that is stored but names.
        """
        max_behind, max_idle = self.max_behind, self.max_idle
        try:
            found = projection_health(
                max_behind=settings.ESDB_MAX_BEHIND
                if max_behind is None
                else max_behind,
                max_idle=settings.ESDB_MAX_IDLE if max_idle is None else max_idle,
            )
        except DatabaseError as error:
            msg = "a database cannot be used"
            raise ServiceUnavailable(msg) from error
        finally:
            # It is called in a thread of its own, in which no request ends.
            close_connections()
        problems = [
            f"{shown(each.status.projection)} is not healthy: {each.unready}"
            for each in found
            if not each.is_ready
        ]
        if problems:
            raise ServiceUnavailable("; ".join(problems))
