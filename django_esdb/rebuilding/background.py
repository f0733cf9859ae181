"""Beginning a rebuild in the process that runs the projection."""

from __future__ import annotations

import logging

from django.db import Error as DatabaseError

from django_esdb.db.errors import is_transient
from django_esdb.exceptions import ConfigurationError, OtherStoreError
from django_esdb.leases.lease import Lease
from django_esdb.rebuilding.beginning import Begun, begin_again
from django_esdb.rebuilding.requests import cancel_rebuild, is_requested
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import named_line

logger = logging.getLogger("django_esdb.runner")


def begin_requested(registration: Registration, lease: Lease) -> Begun | None:
    """
    Begin the rebuild that was requested, if one was, with the lease at hand.

    One that is refused is logged and not asked for any more: the projection continues
    with what is there.

    Raises:
        LeaseLostError: Another process has taken over.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used.
    """
    if not is_requested(lease.tracked):
        return None
    try:
        return begin_again(registration, lease)
    except (ConfigurationError, OtherStoreError, DatabaseError) as error:
        if is_transient(error):
            raise
        cancel_rebuild(registration)
        log(
            logger,
            logging.ERROR,
            "Rebuild was refused",
            projection=registration.name,
            application=registration.application_name,
            error=named_line(error),
        )
        return None
