"""What rebuilds are at that are made next to the rows in use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from django_esdb.masking import masked
from django_esdb.models import (
    ProjectionState,
    ProjectionTracking,
    build_name,
)
from django_esdb.moments import time_text
from django_esdb.status.advice import LOST
from django_esdb.status.lag import Lag, lag_of
from django_esdb.status.rows import with_details
from django_esdb.status.states import state_of
from eventsourcing_eventstoredb.text import one_line


@dataclass(frozen=True)
class BuildStatus:
    """
    A rebuild next to the rows in use.

    Attributes:
        state: A :class:`ProjectionState`, or ``lost``.
        began_at: When it began.
        ended_at: When it has switched or was aborted, and has left tables; None if it
            has not.
        owner: The process that builds, or did.
        position: Of the last event that it has processed; None if there is none.
        target: Up to which position it is to come, as far as is known; it moves on.
        updated_at: When the position was last moved.
        lag: How many events are left, how fast it is, and how long it takes.
        failed_events: How many events of it were put aside.
        error: Why it has stopped; may be empty.
    """

    state: str
    began_at: datetime
    ended_at: datetime | None
    owner: str
    position: int | None
    target: int | None
    updated_at: datetime | None
    lag: Lag
    failed_events: int
    error: str

    @property
    def is_under_way(self) -> bool:
        """Whether a process builds now."""
        return self.state not in (
            ProjectionState.STOPPED,
            ProjectionState.PAUSED,
            ProjectionState.FAILED,
            LOST,
        )


def build_in(row: Any) -> BuildStatus | None:
    """
    Return the build of a projection; None if there is none, nor anything left of one.

    Args:
        row: The projection's, as :func:`with_details` returns it. Where it has no
            attribute ``build_row``, the build's row is asked for.
    """
    if row.build_began_at is None:
        return None
    try:
        build_row = row.build_row
    except AttributeError:
        rows: Any = ProjectionTracking.objects.using(row._state.db).filter(
            projection=build_name(row.projection), application=row.application
        )
        build_row = with_details(rows).first()
    return _build(row, build_row)


def about_build(projection: str, build: BuildStatus) -> str:
    """Return what to know or do about a build, in the language that is active."""
    abort = f"manage.py rebuildprojection {projection} --abort"
    command = f"manage.py rebuildprojection {projection} --beside"
    if build.ended_at is not None:
        return _(
            "A rebuild next to the rows in use has ended and left tables, which the "
            "next start of a worker drops, or %(command)s."
        ) % {"command": abort}
    values = {
        "since": time_text(build.began_at),
        "position": build.position or 0,
        "target": build.target or 0,
        "left": "-" if build.lag.events is None else build.lag.events,
        "rate": f"{build.lag.rate:.0f}",
        "owner": ":".join(build.owner.split(":")[:2]),
        "command": command,
        "abort": abort,
    }
    if build.is_under_way:
        text = _(
            "A rebuild next to the rows in use continues since %(since)s: position "
            "%(position)s of %(target)s, %(left)s events left, %(rate)s/s, by "
            "%(owner)s; %(abort)s drops it."
        )
        return _with_error(text % values, build)
    text = _(
        "A rebuild next to the rows in use, begun at %(since)s, has stopped at "
        "position %(position)s of %(target)s: %(command)s continues, %(abort)s drops "
        "it."
    )
    return _with_error(text % values, build)


def _with_error(text: str, build: BuildStatus) -> str:
    return f"{text} {build.error}" if build.error else text


def _build(projection_row: Any, row: Any) -> BuildStatus:
    if row is None:
        # Its first step, or its last one, was broken off.
        row = ProjectionTracking(state=ProjectionState.STOPPED)
        row.is_owned, row.failed_count = False, 0
    state = state_of(row, row.is_owned)
    is_running = row.is_owned and state != LOST
    return BuildStatus(
        state=state,
        began_at=projection_row.build_began_at,
        ended_at=projection_row.build_ended_at,
        owner=row.owner,
        position=row.position,
        target=row.replay_until,
        updated_at=row.updated_at,
        lag=Lag() if row.pk is None else lag_of(row, is_running=is_running),
        failed_events=row.failed_count,
        error=one_line(masked("", row.error)) if row.error else "",
    )
