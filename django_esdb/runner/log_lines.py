"""The lines that running projections write to the log: receivers of their signals."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import receiver

from django_esdb import signals
from django_esdb.exceptions import UndecodableEventError
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.exceptions import is_logged_outage
from eventsourcing_eventstoredb.text import counted, one_line

logger = logging.getLogger("django_esdb.runner")

_INTERRUPTED = {
    "beginning": "Projection could not begin, trying again: projection=%s error=%s",
    "running": "Projection interrupted, trying again: projection=%s error=%s",
    "standing by": "Standing by was interrupted: projection=%s error=%s",
}

# Projections that stand still for what their event store's client tells of.
_waiting_for_store: set[str] = set()


@receiver(signals.standing_by)
def _standing_by(
    *, projection: str, owner: str, reason: str, is_paused: bool, **kwargs: Any
) -> None:
    if is_paused:
        logger.warning(
            "Projection is paused: projection=%s error=%s", projection, reason
        )
    elif reason:
        logger.warning(
            "Standing by for a node that is behind: projection=%s error=%s",
            projection,
            reason,
        )
    else:
        logger.info("Standing by: projection=%s owner=%s", projection, owner)


@receiver(signals.event_failed)
def _event_failed(
    *,
    projection: str,
    position: int | None,
    error: Exception,
    retries: int,
    seconds: float | None,
    is_first: bool,
    **kwargs: Any,
) -> None:
    if not (_is_news(projection) or is_first):
        return
    # What cannot be decoded has not come to anyone's handler.
    is_of_handler = not isinstance(error, UndecodableEventError)
    place = traceback_of(error) if is_of_handler else ""
    if seconds is not None:
        logger.warning(
            "Event failed, trying again up to %s: projection=%s error=%s%s",
            counted(retries, "time", "times"),
            projection,
            one_line(error),
            f"\n{place}" if place else "",
        )
    elif place:
        # What becomes of it has a line of its own.
        logger.error(
            "Event failed: projection=%s position=%s\n%s", projection, position, place
        )


@receiver(signals.event_parked)
def _event_parked(*, projection: str, event: str, reason: str, **kwargs: Any) -> None:
    # What waits behind an event that has failed is not worth a line each.
    if reason:
        logger.error(
            "Event parked: projection=%s %s error=%s", projection, event, reason
        )


@receiver(signals.event_skipped)
def _event_skipped(*, projection: str, event: str, reason: str, **kwargs: Any) -> None:
    logger.error("Event skipped: projection=%s %s error=%s", projection, event, reason)


@receiver(signals.projection_interrupted)
def _interrupted(
    *, projection: str, error: Exception, phase: str, is_first: bool, **kwargs: Any
) -> None:
    if is_logged_outage(error):
        # One line for an outage, however many projections meet it.
        if is_first and phase == "running":
            _waiting_for_store.add(projection)
    elif _is_news(projection) or is_first:
        logger.warning(_INTERRUPTED[phase], projection, one_line(error))


@receiver(signals.projection_recovered)
def _recovered(*, projection: str, position: int | None, **kwargs: Any) -> None:
    if _is_news(projection):
        return
    if position is None:
        logger.info("Projection recovered: projection=%s", projection)
    else:
        logger.info(
            "Projection recovered: projection=%s position=%s", projection, position
        )


@receiver(signals.projection_paused)
def _paused(*, projection: str, error: Exception, **kwargs: Any) -> None:
    logger.error(
        "Projection paused: projection=%s error=%s", projection, one_line(error)
    )


@receiver(signals.lease_lost)
def _lease_lost(*, error: Exception, **kwargs: Any) -> None:
    logger.warning("%s", error)


def _is_news(projection: str) -> bool:
    """Return whether nothing was logged of what is wrong; by now something is."""
    was_silent = projection in _waiting_for_store
    _waiting_for_store.discard(projection)
    return was_silent
