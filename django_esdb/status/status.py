"""
What projections are at, as the database alone can tell.

Commands and the admin show it. Texts are bounded lines without secrets, whatever
has been written into the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from django_esdb.exceptions import ConfigurationError
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.masking import masked
from django_esdb.models import (
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import LOST, advice
from django_esdb.status.builds import BuildStatus, about_build, build_in
from django_esdb.status.fingerprints import fingerprint
from django_esdb.status.lag import Lag, lag_of
from django_esdb.status.rows import (
    counts_without_row,
    is_used,
    key_of,
    registration_of,
    rows_elsewhere,
    rows_in,
    tracked_of,
)
from django_esdb.status.states import leased_until, since_of, state_of
from django_esdb.tracebacks import safe_lines
from eventsourcing_eventstoredb.text import LONGEST_LINE, one_line


@dataclass(frozen=True, kw_only=True)
class ProjectionStatus:
    """
    A projection, and what is known of it.

    Attributes:
        view: The view class's path; None if it is not registered.
        database: Alias of the database that has the position; None if the view's
            cannot be told.
        is_registered: Whether some code has this name here.
        definition_changed: Whether the code is not what the rows were begun with.
        state: A :class:`ProjectionState`, or ``lost``.
        state_since: Since when; None if that is not known.
        owner: The name of the process that runs it, or did.
        leased_until: Until when no other process takes over, by the database's clock.
        position: Of the last event that is processed; None if none is.
        updated_at: When the position was last moved.
        error: Why it is retrying, standing by or paused, or why it was stopped; may be
            empty.
        traceback: Where code has failed, innermost last; may be empty.
        attempts: How many failed attempts the next event has had.
        failed_events: How many events are put aside.
        waiting_events: How many of these wait behind one that has failed.
        lag: How far it is behind, and how fast it is.
        skipped_events: How many events were left out, as far as they are kept.
        replay_until: The last position of events that are processed again, as in a
            rebuild, while that is under way; else None.
        is_rebuild_requested: Whether a rebuild was requested that has yet to
            begin.
        build: A rebuild that is made next to the rows in use; None if there is none.
        advice: What to know or do, a line each.
    """

    projection: str
    application: str
    topics: list[str] = field(default_factory=list)
    view: str | None = None
    database: str | None = None
    is_registered: bool = False
    definition_changed: bool = False
    state: str = ProjectionState.STOPPED.value
    state_since: datetime | None = None
    owner: str = ""
    leased_until: datetime | None = None
    position: int | None = None
    updated_at: datetime | None = None
    error: str = ""
    traceback: str = ""
    attempts: int = 0
    failed_events: int = 0
    waiting_events: int = 0
    lag: Lag = field(default_factory=Lag)
    skipped_events: int = 0
    replay_until: int | None = None
    is_rebuild_requested: bool = False
    build: BuildStatus | None = None
    advice: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str | None, str, str]:
        """What no other status has in common with it."""
        return self.database, self.projection, self.application

    @property
    def is_well(self) -> bool:
        """
        Whether nothing is known to be wrong.

        One that is behind is well if a process runs it, and one that none runs if it
        had caught up. Rows without code count for nothing.
        """
        if not self.is_registered:
            return True
        if self.failed_events or self.definition_changed or self.error:
            return False
        if self.state == ProjectionState.STOPPED:
            return self.lag.events == 0
        return self.state == ProjectionState.RUNNING


def projection_statuses() -> list[ProjectionStatus]:
    """
    Return what there is to say of each projection, registered ones first.

    Those that are not registered are looked for where registered ones are tracked,
    and where the tracking model is written.

    Raises:
        django.db.Error: A database cannot be used.
    """
    tracked = {each.name: tracked_of(each) for each in registry}
    known = {each for each in tracked.values() if each is not None}
    aliases = {each.using for each in known}
    rows = {key_of(row): row for alias in sorted(aliases) for row in rows_in(alias)}
    counts = counts_without_row(each for each in known if each not in rows)
    found = [
        _registered_status(each, tracked[each.name], rows, counts) for each in registry
    ]
    others = [row for key, row in rows.items() if key not in known and is_used(row)]
    others += rows_elsewhere(aliases)
    return found + [_row_status(row, None) for row in others]


def status_of(row: ProjectionTracking) -> ProjectionStatus:
    """Return what there is to say of a row that :func:`with_details` has returned."""
    return _row_status(row, registration_of(row))


def is_definition_changed(
    registration: Registration, row: ProjectionTracking | None
) -> bool:
    """Return whether a row's read models were begun with another definition."""
    if row is None or row.position is None or not row.fingerprint:
        return False
    return row.fingerprint != fingerprint(registration)


def place(owner: str) -> str:
    """Return ``HOST:PROCESS`` of an owner's name, which says more than people need."""
    return ":".join(owner.split(":")[:2])


def shown(text: str, limit: int = LONGEST_LINE) -> str:
    """Return stored text as a line without secrets; what is empty stays so."""
    return one_line(masked("", text), limit) if text else ""


def shown_lines(text: str) -> str:
    """Return a stored traceback as bounded lines without secrets."""
    return safe_lines(text)


def local(value: datetime) -> datetime:
    """Return a time in the current time zone, if it has one."""
    return timezone.localtime(value) if timezone.is_aware(value) else value


def _registered_status(
    registration: Registration,
    tracked: TrackedProjection | None,
    rows: Mapping[TrackedProjection, Any],
    counts: Mapping[TrackedProjection, tuple[int, int, int]],
) -> ProjectionStatus:
    if tracked is None:
        return _status(registration, None, None)
    row = rows.get(tracked)
    if row is not None:
        return _status(registration, row, tracked.using)
    return _status(registration, None, tracked.using, *counts[tracked])


def _row_status(row: Any, registration: Registration | None) -> ProjectionStatus:
    return _status(registration, row, str(row._state.db))


def _status(
    registration: Registration | None,
    row: Any,
    database: str | None,
    failed: int = 0,
    waiting: int = 0,
    skipped: int = 0,
) -> ProjectionStatus:
    known: dict[str, Any] = {}
    lag = Lag()
    build = None if row is None else build_in(row)
    state, changed = ProjectionState.STOPPED.value, False
    if row is not None:
        is_owned = row.is_owned
        failed, waiting = row.failed_count, row.waiting_count
        skipped = row.skipped_count
        state = state_of(row, is_owned)
        lag = lag_of(row, is_running=is_owned and state != LOST)
        known = {
            "projection": row.projection,
            "application": row.application,
            "state_since": since_of(row, state, is_owned),
            "owner": row.owner,
            "leased_until": leased_until(row),
            "position": row.position,
            "updated_at": row.updated_at,
            "error": shown(row.error),
            "traceback": shown_lines(row.traceback),
            "attempts": row.attempts,
            "replay_until": row.replay_until if row.is_replaying else None,
            "is_rebuild_requested": row.rebuild_requested_at is not None,
        }
    if registration is not None:
        view_class = registration.view_class
        changed = is_definition_changed(registration, row)
        known |= {
            "projection": registration.name,
            "application": registration.application_name,
            "topics": _topics(registration),
            "view": f"{view_class.__module__}.{view_class.__qualname__}",
        }
    return ProjectionStatus(
        **known,
        database=database,
        is_registered=registration is not None,
        definition_changed=changed,
        state=state,
        failed_events=failed,
        waiting_events=waiting,
        lag=lag,
        skipped_events=skipped,
        build=build,
        advice=list(
            advice(
                registration,
                row,
                state,
                changed=changed,
                failed=failed,
                skipped=skipped,
                is_behind=lag.events != 0,
            )
        )
        + ([] if build is None else [about_build(known["projection"], build)]),
    )


def _topics(registration: Registration) -> list[str]:
    try:
        return list(registration.topics)
    except ConfigurationError:
        # A check's to report.
        return []
