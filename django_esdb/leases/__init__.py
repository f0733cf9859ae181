"""Which process runs a projection."""

from __future__ import annotations

from django_esdb.leases.lease import Lease, TrackedProjection, acquire_lease

__all__ = ["Lease", "TrackedProjection", "acquire_lease"]
