"""What to do about projections in each state, in the language that is active."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_esdb.models import ProjectionState
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.text import one_line

# Of a projection whose owner has exited without releasing its lease.
LOST = "lost"

DEFINITION_CHANGED = gettext_noop(
    "its definition changed since the read models were begun: rebuild advised"
)


def state_label(state: str) -> str:
    """Return a state as the admin shows it, in the language that is active."""
    if state == LOST:
        return _("Lost")
    # Newer code may have written others, during a rolling deploy.
    known = state in ProjectionState.values
    return str(ProjectionState(state).label) if known else one_line(state)


def advice(
    registration: Registration | None,
    row: Any,
    state: str,
    *,
    changed: bool,
    failed: int,
    skipped: int,
    is_behind: bool,
) -> Iterator[str]:
    """
    Return what to know or do about a projection, a line each.

    Args:
        registration: The registered projection; None if there is none.
        row: Its row of the tracking table; None if there is none.
        state: What it is at.
        changed: Whether its definition is not what the rows were begun with.
        failed: How many events are put aside.
        skipped: How many events were left out.
        is_behind: Whether events may be left to process.
    """
    if registration is None:
        yield _(
            "not registered: it was renamed, moved or removed, and its read models are "
            "not updated any more"
        )
        return
    name = registration.name
    yield from _about_state(name, row, state, is_behind=is_behind)
    if row is not None:
        yield from _about_rebuild(row)
    if failed:
        yield ngettext(
            "%(count)s failed event is put aside: fix the cause, then run %(command)s",
            "%(count)s failed events are put aside: fix the cause, then run "
            "%(command)s",
            failed,
        ) % {"count": failed, "command": _retry(name)}
    if skipped:
        yield ngettext(
            "%(count)s event was skipped, which the admin lists: only a rebuild brings "
            "what was skipped into the read models",
            "%(count)s events were skipped, which the admin lists: only a rebuild "
            "brings what was skipped into the read models",
            skipped,
        ) % {"count": skipped}
    if changed:
        yield _(DEFINITION_CHANGED)
        yield _("to rebuild the read models run %(command)s") % {
            "command": f"manage.py rebuildprojection {name}"
        }


def _about_rebuild(row: Any) -> Iterator[str]:
    if row.is_replaying:
        yield _(
            "It has started over: events up to position %(position)s are processed "
            "again."
        ) % {"position": row.replay_until}
    if row.rebuild_requested_at is not None:
        yield _("A rebuild is asked for, and has yet to begin.")


def _about_state(name: str, row: Any, state: str, *, is_behind: bool) -> Iterator[str]:
    if row is not None and row.is_paused_by_hand:
        yield _("paused by hand: resume it in the admin or run %(command)s") % {
            "command": _retry(name)
        }
    elif state == ProjectionState.PAUSED:
        # A start does not try again what has ended the process before.
        crashed = row is not None and row.attempted_position is not None
        text = (
            _("paused: fix the cause, then run %(command)s")
            if crashed
            else _(
                "paused: fix the cause, then start runprojections again or run "
                "%(command)s"
            )
        )
        yield text % {"command": _retry(name)}
    elif row is not None and row.state == ProjectionState.RETRYING and not row.owner:
        yield _("to be tried again, but no process runs it: start runprojections")
    elif state == ProjectionState.STOPPED and is_behind:
        yield _("stopped: no process runs it: start runprojections")
    elif state == ProjectionState.FAILED:
        yield _("failed: fix the cause, then start runprojections again")
    elif state == LOST:
        yield _(
            "lost: its process exited without releasing its lease or cannot reach the "
            "database; it continues when another runprojections takes over"
        )


def _retry(name: str) -> str:
    return f"manage.py retryfailedevents {name}"
