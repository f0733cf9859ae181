"""Which process runs a projection."""

from __future__ import annotations

from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.lease import Lease
from django_esdb.leases.tracked import TrackedProjection

__all__ = ["Lease", "TrackedProjection", "acquire_lease"]
