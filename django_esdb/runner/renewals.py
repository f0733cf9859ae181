"""Renewing leases while projections run, in the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import Exists

from django_esdb.db.connections import ConnectionKeeper, close_if_lost
from django_esdb.db.guards import limit_lock_waits
from django_esdb.exceptions import LeaseLostError
from django_esdb.failures.requests import requested_events
from django_esdb.leases.lease import Lease
from eventsourcing_eventstoredb.scheduler import Periodic, scheduler

# The scheduler's thread has connections of its own.
scheduler.at_end(connections.close_all)

# How many times a lease is renewed before it would be over.
RENEWALS = 3


class LeaseRenewal:
    """
    Keeps a lease until it is released or lost.

    A renewal does not wait for a batch that is under way. Where the database has no
    way to do without, it waits for half of the time until the next one at most, so
    that the other projections' leases are renewed in time.

    Args:
        lease: What to renew.
        lost: Called in the scheduler's thread when another process has taken over.
    """

    def __init__(self, lease: Lease, lost: Callable[[LeaseLostError], None]) -> None:
        self._lease = lease
        self._lost = lost
        self._seconds = lease.seconds / RENEWALS
        self._connections = ConnectionKeeper()
        self._periodic: Periodic = scheduler.every(self._seconds, self._renew)

    def stop(self, *, waits: bool = True) -> None:
        """Renew it no more; waits for a renewal that is under way if told so."""
        scheduler.cancel(self._periodic, waits=waits)

    def _renew(self) -> None:
        self._connections.begin_work()
        try:
            self._renew_once()
        finally:
            self._connections.end_work(self._seconds)

    def _renew_once(self) -> None:
        connection = connections[self._lease.tracked.using]
        try:
            try:
                self._try_once()
            except DatabaseError:
                # The connection was lost, or the database is away; then no other
                # process can take over either.
                if close_if_lost(connection):
                    with suppress(DatabaseError):
                        self._try_once()
        except LeaseLostError as error:
            self._lost(error)

    def _try_once(self) -> None:
        limit_lock_waits(connections[self._lease.tracked.using], self._seconds / 2)
        self._lease.renew()
        self._look_at_requests()

    def _look_at_requests(self) -> None:
        """See, with one query, what was requested in the admin."""
        tracked = self._lease.tracked
        asked = (
            tracked.queryset()
            .annotate(has_retries=Exists(requested_events(tracked)))
            .values_list("has_retries", "rebuild_requested_at")
            .first()
        )
        has_retries, rebuild_requested_at = asked or (False, None)
        self._lease.retry_requested = has_retries
        self._lease.rebuild_requested = rebuild_requested_at is not None
