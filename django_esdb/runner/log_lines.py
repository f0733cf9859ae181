"""
The lines that running projections write to the log: receivers of their signals.

Each change of state has a line. What is wrong is a warning or an error, and what goes
as it should is for information. The latter has nothing that an event says, nor the text
of an error, which may say it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.dispatch import receiver

from django_esdb import signals
from django_esdb.exceptions import EventHangError, UndecodableEventError
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.exceptions import is_logged_outage
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import one_line

logger = logging.getLogger("django_esdb.runner")

_INTERRUPTED = {
    "beginning": "Projection could not begin, trying again",
    "running": "Projection interrupted, trying again",
    "standing by": "Standing by was interrupted",
}

# Projections that stand still for what their event store's client tells of.
_waiting_for_store: set[str] = set()


@receiver(signals.projection_started)
def _started(
    *, projection: str, application: str, position: int | None, **kwargs: Any
) -> None:
    log(
        logger,
        logging.INFO,
        "Projection started",
        projection=projection,
        application=application,
        state="running",
        position=position,
    )


@receiver(signals.projection_stopped)
def _stopped(
    *, projection: str, application: str, position: int | None, **kwargs: Any
) -> None:
    _waiting_for_store.discard(projection)
    log(
        logger,
        logging.INFO,
        "Projection stopped",
        projection=projection,
        application=application,
        state="stopped",
        position=position,
    )


@receiver(signals.projection_failed)
def _failed(
    *, projection: str, application: str, error: Exception, **kwargs: Any
) -> None:
    _waiting_for_store.discard(projection)
    # Where nothing else is configured, Python would write it beside the command's own
    # error. What hangs has had a line with the place.
    if logger.hasHandlers() and not isinstance(error, EventHangError):
        log(
            logger,
            logging.ERROR,
            "Projection failed",
            projection=projection,
            application=application,
            error=one_line(error),
        )


@receiver(signals.standing_by)
def _standing_by(
    *,
    projection: str,
    application: str,
    owner: str,
    reason: str,
    is_paused: bool,
    **kwargs: Any,
) -> None:
    about: dict[str, Any] = {"projection": projection, "application": application}
    if is_paused:
        log(logger, logging.WARNING, "Projection is paused", **about, error=reason)
    elif reason:
        log(
            logger,
            logging.WARNING,
            "Standing by for a node that is behind",
            **about,
            error=reason,
        )
    else:
        log(logger, logging.INFO, "Standing by", **about, owner=owner)


@receiver(signals.rebuild_began)
def _rebuild_began(
    *,
    projection: str,
    application: str,
    until: int | None,
    rows: Mapping[str, int],
    **kwargs: Any,
) -> None:
    log(
        logger,
        logging.INFO,
        "Rebuild began",
        projection=projection,
        application=application,
        until=until,
        deleted=sum(rows.values()),
    )


@receiver(signals.replay_ended)
def _replay_ended(
    *, projection: str, application: str, position: int, **kwargs: Any
) -> None:
    log(
        logger,
        logging.INFO,
        "Replay ended",
        projection=projection,
        application=application,
        position=position,
    )


@receiver(signals.event_failed)
def _event_failed(
    *,
    projection: str,
    application: str,
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
    about: dict[str, Any] = {
        "projection": projection,
        "application": application,
        "position": position,
    }
    if seconds is not None:
        log(
            logger,
            logging.WARNING,
            "Event failed, trying again",
            **about,
            retries=retries,
            error=one_line(error),
            below=place,
        )
    elif place:
        # What becomes of it has a line of its own.
        log(logger, logging.ERROR, "Event failed", **about, below=place)


@receiver(signals.event_parked)
def _event_parked(*, reason: str, **event: Any) -> None:
    # What waits behind an event that has failed is not worth a line each.
    if reason:
        log(logger, logging.ERROR, "Event parked", **_event(event), error=reason)


@receiver(signals.event_skipped)
def _event_skipped(*, reason: str, **event: Any) -> None:
    log(logger, logging.ERROR, "Event skipped", **_event(event), error=reason)


@receiver(signals.projection_interrupted)
def _interrupted(
    *,
    projection: str,
    application: str,
    error: Exception,
    phase: str,
    is_first: bool,
    **kwargs: Any,
) -> None:
    about: dict[str, Any] = {"projection": projection, "application": application}
    if is_logged_outage(error):
        # One warning for an outage, however many projections meet it.
        if is_first and phase == "running":
            _waiting_for_store.add(projection)
            log(
                logger,
                logging.INFO,
                "Projection waits for the event store",
                **about,
                state="retrying",
            )
    elif _is_news(projection) or is_first:
        log(
            logger, logging.WARNING, _INTERRUPTED[phase], **about, error=one_line(error)
        )


@receiver(signals.projection_recovered)
def _recovered(
    *, projection: str, application: str, position: int | None, **kwargs: Any
) -> None:
    _waiting_for_store.discard(projection)
    log(
        logger,
        logging.INFO,
        "Projection recovered",
        projection=projection,
        application=application,
        state="running",
        position=position,
    )


@receiver(signals.projection_paused)
def _paused(
    *,
    projection: str,
    application: str,
    position: int | None,
    error: Exception,
    **kwargs: Any,
) -> None:
    log(
        logger,
        logging.ERROR,
        "Projection paused",
        projection=projection,
        application=application,
        state="paused",
        position=position,
        error=one_line(error),
    )


@receiver(signals.lease_lost)
def _lease_lost(
    *, projection: str, application: str, error: Exception, **kwargs: Any
) -> None:
    log(
        logger,
        logging.WARNING,
        "Lease lost",
        projection=projection,
        application=application,
        error=one_line(error),
    )


def _event(sent: dict[str, Any]) -> dict[str, Any]:
    """Return which event a signal tells of, without its data."""
    return {
        "projection": sent["projection"],
        "application": sent["application"],
        "position": sent["position"],
        "topic": one_line(sent["topic"]),
        "originator_id": one_line(str(sent["originator_id"])),
        "originator_version": sent["originator_version"],
    }


def _is_news(projection: str) -> bool:
    """Return whether nothing was logged of what is wrong; by now something is."""
    was_silent = projection in _waiting_for_store
    _waiting_for_store.discard(projection)
    return was_silent
