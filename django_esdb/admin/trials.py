"""What a page shows of an event that is processed and undone, in the time it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy

from django_esdb.admin.payloads import may_read_payloads
from django_esdb.admin.unregistered import why_unprocessable
from django_esdb.applications.store_address import store_hint
from django_esdb.conf import settings
from django_esdb.debugging.dry_run import DryRun, EventRun
from django_esdb.debugging.events import Choice
from django_esdb.debugging.shown_changes import (
    DELETED,
    INSERTED,
    UPDATED,
    ShownChange,
    shown_change,
)
from django_esdb.debugging.time_limits import TimeLimit
from django_esdb.exceptions import DryRunError
from django_esdb.models import FailedEvent
from django_esdb.status.rows import registration_of
from django_esdb.status.status import shown, shown_lines
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.text import named_line

# How many a process tries at once; those that hang count, too.
_MOST_AT_ONCE = 2
# For a thread that is told that its time is over to end.
_GRACE_SECONDS = 1.0
_KINDS = {
    INSERTED: gettext_lazy("inserted"),
    UPDATED: gettext_lazy("updated"),
    DELETED: gettext_lazy("deleted"),
}

_places = threading.BoundedSemaphore(_MOST_AT_ONCE)


@dataclass(frozen=True)
class Trial:
    """
    What a failed event would do if it was retried.

    Attributes:
        run: What it has done; None if that is not known.
        problem: Why not; can be shown.
    """

    run: EventRun | None = None
    problem: str = ""


def try_event(event: FailedEvent) -> Trial:
    """
    Process a failed event, and undo it.

    It has as long as a web request may take with event stores, in a thread of its own:
    where a handler hangs, its transaction is ended, and this returns all the same.
    """
    registration = registration_of(event)
    if registration is None:
        return Trial(problem=why_unprocessable(event))
    seconds = min(settings.ESDB_WEB_DEADLINE, settings.ESDB_EVENT_SECONDS)
    choice = Choice(event.originator_id, only=event.position)
    dry_run = DryRun(registration, choice, TimeLimit(seconds))

    def process() -> Trial:
        try:
            with store_deadline(seconds):
                (run,) = dry_run.run()
        except DryRunError as error:
            return Trial(problem=shown(str(error)))
        except Exception as error:
            # The user who asked for it must see any error.
            hint = store_hint(registration.application_class, error)
            return Trial(problem=shown(f"{named_line(error)}{hint}"))
        return Trial(run)

    using = registration.tracked().using
    if connections[using].in_atomic_block:
        # As in a TestCase, of which another connection would see nothing.
        return process()
    return _in_a_thread(process, using, seconds)


def _in_a_thread(process: Callable[[], Trial], using: str, seconds: float) -> Trial:
    found: list[Trial] = []

    def work() -> None:
        try:
            found.append(process())
        finally:
            _places.release()
            with suppress(DatabaseError):
                connections[using].close()

    if not _places.acquire(blocking=False):
        return Trial(problem=gettext("Others are tried at this moment: try again."))
    thread = threading.Thread(target=work, name="dry-run", daemon=True)
    thread.start()
    thread.join(seconds * 2 + _GRACE_SECONDS)
    if found:
        return found[0]
    text = gettext("It hangs: it was broken off after %(seconds)s s, and is undone.")
    return Trial(problem=text % {"seconds": f"{seconds:g}"})


def trial_context(request: HttpRequest, trial: Trial) -> dict[str, Any]:
    """
    Return what the template of a trial needs.

    Values of rows come from payloads. They are shown to users who may see the rows
    themselves, or payloads as they are.
    """
    run = trial.run
    if run is None:
        return {"problem": trial.problem}
    changes = [
        (_KINDS[change.kind], change, _may_see(request, change))
        for change in map(shown_change, run.changes)
    ]
    return {
        "milliseconds": f"{run.seconds * 1000:.1f}",
        "error": shown(run.error),
        "traceback": shown_lines(run.traceback),
        "changes": changes,
        "is_cut": not all(may_see for _, _, may_see in changes),
        "notes": _shown_notes(run.notes),
    }


def _shown_notes(notes: Iterable[str]) -> list[str]:
    return [shown(note) for note in notes]


def _may_see(request: HttpRequest, change: ShownChange) -> bool:
    user = request.user
    if may_read_payloads(request) and settings.ESDB_PAYLOAD_REDACTION is None:
        return True
    try:
        meta = apps.get_model(change.model)._meta
    except (LookupError, ValueError):
        # A table of no model.
        return False
    return bool(user.has_perm(f"{meta.app_label}.view_{meta.model_name}"))
