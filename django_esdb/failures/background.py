"""Trying failed events again in the process that runs their projection."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb.failures.attempts import RetryClock
from django_esdb.failures.audit import audit_of
from django_esdb.failures.requests import Limits, requested, requested_events
from django_esdb.failures.retrying import retry_selected
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import named_line

logger = logging.getLogger("django_esdb.runner")

# At once; then its thread looks after other things first.
_MOST = 100
_SECONDS = 2.0


def retry_requested(
    registration: Registration,
    is_stopping: Callable[[], bool],
    clock: RetryClock | None = None,
) -> bool:
    """
    Try events again that were requested in the admin; blocks for a while.

    Each is tried once. What is left after some time stays asked for, as does what is
    behind an error of the database or the event store, which is logged.

    Args:
        registration: The projection.
        is_stopping: Whether no other event may be begun.
        clock: Told of each event; None if hangs are not watched for.

    Returns:
        Whether more can be tried at once. False after an error.
    """
    tracked = registration.tracked()
    left = 0
    limits = Limits(_MOST, _SECONDS, is_stopping)
    try:
        for user, pks in requested(tracked, _MOST):
            outcome = retry_selected(
                registration,
                pks,
                limits=limits,
                audit=audit_of(user, tracked),
                clock=clock,
            )
            left = requested_events(tracked).order_by().count()
            log(
                logger,
                logging.INFO,
                "Failed events retried",
                projection=registration.name,
                application=registration.application_name,
                processed=outcome.resolved,
                failed=outcome.failed,
                waiting=outcome.waiting,
                left=left,
            )
            if outcome.left:
                return True
        return bool(left)
    except (PersistenceError, DatabaseError) as error:
        log(
            logger,
            logging.WARNING,
            "Retry broken off",
            projection=registration.name,
            application=registration.application_name,
            error=named_line(error),
        )
        return False
