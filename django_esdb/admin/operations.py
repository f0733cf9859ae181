"""What the dashboard's buttons do to projections, and what they say before."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib import messages
from django.db import Error as DatabaseError
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_esdb.admin.actions import MOST_RETRIED, request_limits, retry_projection
from django_esdb.admin.figures import count_text, events_behind
from django_esdb.exceptions import ConfigurationError
from django_esdb.failures.audit import AdminAudit
from django_esdb.failures.pausing import pause_projection, resume_projection
from django_esdb.failures.resuming import is_run
from django_esdb.models import ProjectionState
from django_esdb.rebuilding.beginning import rebuilt_view
from django_esdb.rebuilding.requests import request_rebuild
from django_esdb.rebuilding.resetting import (
    referring_first,
    reset_projection,
    what_is_made,
)
from django_esdb.registry import Registration
from django_esdb.status.accepting import accept_definition
from django_esdb.status.status import ProjectionStatus, place, shown
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import named_line

logger = logging.getLogger("django_esdb.admin")

# In a web request, which has to end soon, and while no process runs the projection.
MOST_DELETED = 100_000


@dataclass(frozen=True)
class Plan:
    """
    What an operation is going to do.

    Attributes:
        lines: In sentences.
        counts: What it does that to: names of kinds of rows, and how many.
    """

    lines: list[str]
    counts: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Said:
    """What has come of an operation, with the level that messages have."""

    text: str
    level: int = messages.SUCCESS


@dataclass(frozen=True, kw_only=True)
class Operation:
    """
    Something that can be done to a projection.

    Attributes:
        name: In addresses.
        label: On the button.
        permission: What the user needs, besides the permission to view.
        is_of_use: Whether it would change something.
        plan: Returns what it is going to do.
        perform: Does it, as a user with this primary key.
    """

    name: str
    label: str | Promise
    permission: str
    is_of_use: Callable[[ProjectionStatus], bool]
    plan: Callable[[Registration, ProjectionStatus], Plan]
    perform: Callable[[Registration, Any], Said]

    def is_allowed(self, user: Any) -> bool:
        """Return whether a user may do it."""
        return bool(user.has_perm(f"django_esdb.{self.permission}"))

    def run(self, registration: Registration, user: Any) -> Said:
        """
        Do it, or say why that is not possible; each has a transaction of its own.

        Args:
            registration: The projection.
            user: Primary key of who asks for it.
        """
        try:
            return self.perform(registration, user)
        except (ConfigurationError, DatabaseError) as error:
            reason = shown(named_line(error))
            log(
                logger,
                logging.ERROR,
                "Not done",
                operation=self.name,
                projection=registration.name,
                application=registration.application_name,
                error=reason,
            )
            text = gettext("%(projection)s: nothing is changed: %(reason)s")
            return Said(_about(registration, text, reason=reason), messages.ERROR)


def _about(registration: Registration, text: str, **values: Any) -> str:
    return text % {"projection": shown(registration.name, 100), **values}


def _left(status: ProjectionStatus) -> list[str]:
    if status.lag.events is None:
        return []
    return [
        gettext("Left to process: %(events)s.") % {"events": events_behind(status.lag)}
    ]


def _resumed(status: ProjectionStatus) -> list[str]:
    if status.state != ProjectionState.PAUSED:
        return []
    return [gettext("It is paused, and is resumed.")]


def _deleted(made: Counter[str]) -> str:
    total = made.total()
    return ngettext(
        "%(count)s row is deleted.", "%(count)s rows are deleted.", total
    ) % {"count": count_text(total)}


def _plan_to_pause(registration: Registration, status: ProjectionStatus) -> Plan:
    lines = [
        gettext(
            "From then on it processes nothing, until it is resumed here. Neither a "
            "restart nor a deployment does. Its read models stay as they are."
        )
    ]
    if status.owner:
        lines.append(
            gettext("%(owner)s, which runs it, will stand by.")
            % {"owner": shown(place(status.owner), 200)}
        )
    return Plan(lines + _left(status))


def _pause(registration: Registration, user: Any) -> Said:
    if pause_projection(registration, AdminAudit(user, registration.tracked())):
        return Said(_about(registration, gettext("%(projection)s is paused.")))
    text = gettext("%(projection)s was paused before.")
    return Said(_about(registration, text), messages.INFO)


def _plan_to_resume(registration: Registration, status: ProjectionStatus) -> Plan:
    lines = [
        gettext(
            "The process that stands by for it continues with the next event. If none "
            "does, it continues when runprojections is started."
        )
    ]
    if status.error:
        lines.append(
            gettext("Why it was paused: %(reason)s") % {"reason": status.error}
        )
    return Plan(lines + _left(status))


def _resume(registration: Registration, user: Any) -> Said:
    if resume_projection(registration, AdminAudit(user, registration.tracked())):
        return Said(_about(registration, gettext("%(projection)s is resumed.")))
    text = gettext("%(projection)s was not paused.")
    return Said(_about(registration, text), messages.INFO)


def _plan_to_retry(registration: Registration, status: ProjectionStatus) -> Plan:
    count = status.failed_events
    lines = [
        ngettext(
            "%(count)s failed event is processed again, with the code that this site "
            "has loaded.",
            "%(count)s failed events are processed again, with the code that this "
            "site has loaded, in the order of events.",
            count,
        )
        % {"count": count_text(count)}
    ]
    if status.waiting_events:
        lines.append(
            ngettext(
                "%(count)s of them waits for an earlier one of its aggregate, and is "
                "tried if that succeeds.",
                "%(count)s of them wait for an earlier one of their aggregate, and "
                "are tried if that succeeds.",
                status.waiting_events,
            )
            % {"count": count_text(status.waiting_events)}
        )
    if count > MOST_RETRIED:
        lines.append(
            gettext(
                "At once it does at most %(count)s; the rest is tried in the "
                "background, by the process that runs the projection."
            )
            % {"count": MOST_RETRIED}
        )
    return Plan(lines)


def _retry(registration: Registration, user: Any) -> Said:
    row = registration.tracked().row()
    retried = retry_projection(row, user, request_limits(), resumes=False)
    return Said(retried.text, retried.level)


def _plan_to_reset(registration: Registration, status: ProjectionStatus) -> Plan:
    made = what_is_made(registration) or Counter()
    lines = [
        gettext(
            "It forgets its position and starts over from the first event, also while "
            "a process runs it. Until it has caught up, pages show what is there by "
            "then. In the event store nothing is changed."
        )
    ]
    if not getattr(registration.view_class, "read_models", ()):
        lines.append(
            gettext("It declares no read models: their rows are left as they are.")
        )
    if made.total() > MOST_DELETED:
        lines.append(_too_many(registration, made))
    return Plan([*lines, _deleted(made), *_resumed(status)], _named(made))


def _too_many(registration: Registration, made: Counter[str]) -> str:
    text = gettext(
        "%(projection)s has %(count)s rows, more than the %(most)s that a web request "
        "deletes: run manage.py resetprojection, or rebuild it in the background."
    )
    return _about(
        registration,
        text,
        count=count_text(made.total()),
        most=count_text(MOST_DELETED),
    )


def _reset(registration: Registration, user: Any) -> Said:
    tracked = registration.tracked()
    made = what_is_made(registration) or Counter()
    if made.total() > MOST_DELETED:
        return Said(_too_many(registration, made), messages.ERROR)
    tracked.ensure_row()
    with tracked.locked():
        deleted = reset_projection(registration).total()
        AdminAudit(user, tracked).reset(deleted)
    text = ngettext(
        "%(projection)s starts over; %(count)s row was deleted.",
        "%(projection)s starts over; %(count)s rows were deleted.",
        deleted,
    )
    return Said(_about(registration, text, count=count_text(deleted)))


def _plan_to_rebuild(registration: Registration, status: ProjectionStatus) -> Plan:
    rebuilt_view(registration)
    made = what_is_made(registration) or Counter()
    lines = [
        gettext(
            "The process that runs it deletes what it has made, within seconds, and "
            "processes all events again, from the first one on; effects are not "
            "repeated. If no process runs it, the next one does. Until it has caught "
            "up, pages show what is there by then."
        ),
        _deleted(made),
        *_resumed(status),
    ]
    return Plan(lines, _named(made))


def _rebuild(registration: Registration, user: Any) -> Said:
    tracked = registration.tracked()
    tracked.ensure_row()
    with tracked.locked():
        is_new = request_rebuild(registration, str(user))
        if is_new:
            AdminAudit(user, tracked).rebuild_requested()
    if not is_new:
        text = gettext("%(projection)s: a rebuild was requested before.")
        return Said(_about(registration, text), messages.INFO)
    text = gettext("%(projection)s is rebuilt in the background.")
    if is_run(tracked):
        return Said(_about(registration, text))
    text = gettext(
        "%(projection)s is rebuilt when a process runs it: start runprojections."
    )
    return Said(_about(registration, text), messages.WARNING)


def _plan_to_accept(registration: Registration, status: ProjectionStatus) -> Plan:
    lines = [
        gettext(
            "Its code has changed since its read models were begun. To accept that "
            "says that their rows are right as they are: no rebuild is advised any "
            "more. Nothing else is changed."
        )
    ]
    read_models = getattr(registration.view_class, "read_models", ())
    using = registration.tracked().using
    counts = {
        model._meta.label: model._base_manager.using(using).count()
        for model in referring_first(read_models)
    }
    total = sum(counts.values())
    lines.append(
        ngettext("It is said of %(count)s row.", "It is said of %(count)s rows.", total)
        % {"count": count_text(total)}
    )
    return Plan(lines, _named(counts))


def _accept(registration: Registration, user: Any) -> Said:
    tracked = registration.tracked()
    tracked.ensure_row()
    with tracked.locked():
        accepted = accept_definition(registration)
        if accepted:
            AdminAudit(user, tracked).accepted()
    if accepted:
        text = gettext("%(projection)s: the definition of today is accepted.")
        return Said(_about(registration, text))
    text = gettext("%(projection)s: its definition has not changed.")
    return Said(_about(registration, text), messages.INFO)


def _named(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return how people call kinds of rows, and how many there are."""
    return [
        (str(apps.get_model(label)._meta.verbose_name_plural), count_text(count))
        for label, count in counts.items()
        if count
    ]


OPERATIONS = {
    each.name: each
    for each in (
        Operation(
            name="pause",
            label=_("Pause"),
            permission="pause_projectiontracking",
            is_of_use=lambda status: status.state != ProjectionState.PAUSED,
            plan=_plan_to_pause,
            perform=_pause,
        ),
        Operation(
            name="resume",
            label=_("Resume"),
            permission="resume_projectiontracking",
            is_of_use=lambda status: status.state == ProjectionState.PAUSED,
            plan=_plan_to_resume,
            perform=_resume,
        ),
        Operation(
            name="retry",
            label=_("Retry"),
            permission="retry_failedevent",
            is_of_use=lambda status: status.failed_events > 0,
            plan=_plan_to_retry,
            perform=_retry,
        ),
        Operation(
            name="accept",
            label=_("Accept"),
            permission="accept_projectiontracking",
            is_of_use=lambda status: status.definition_changed,
            plan=_plan_to_accept,
            perform=_accept,
        ),
        Operation(
            name="rebuild",
            label=_("Rebuild"),
            permission="rebuild_projectiontracking",
            is_of_use=lambda status: status.position is not None,
            plan=_plan_to_rebuild,
            perform=_rebuild,
        ),
        Operation(
            name="reset",
            label=_("Reset"),
            permission="reset_projectiontracking",
            is_of_use=lambda status: (
                status.position is not None
                or status.failed_events > 0
                or bool(status.error)
            ),
            plan=_plan_to_reset,
            perform=_reset,
        ),
    )
}
