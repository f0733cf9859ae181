"""Taking a projection from its owner, while its position stays where it is."""

from __future__ import annotations

from django_esdb.conf import settings
from django_esdb.exceptions import LeaseHeldError
from django_esdb.leases.acquiring import seize_lease
from django_esdb.leases.lease import Lease
from django_esdb.leases.process_identity import is_rebuilder, new_owner
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTracking


def hold_lease(tracked: TrackedProjection, row: ProjectionTracking) -> Lease:
    """
    Take a projection from its owner, which stands by.

    Within a transaction only, in which the projection's row is locked.

    Args:
        tracked: The projection.
        row: Its row.

    Raises:
        LeaseHeldError: It is being rebuilt as a whole.
    """
    if is_rebuilder(row.owner) and tracked.has_live_owner(row):
        raise being_rebuilt(tracked, row)
    return seize_lease(
        tracked, row, new_owner(rebuilds=True), settings.ESDB_LEASE_SECONDS
    )


def being_rebuilt(
    tracked: TrackedProjection, row: ProjectionTracking
) -> LeaseHeldError:
    """Return the error that says who rebuilds all of a projection."""
    return LeaseHeldError(
        f"Projection {tracked.projection!r} is being rebuilt by {row.owner}"
    )
