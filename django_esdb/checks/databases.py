"""System checks of databases' settings, and of read models; no database is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import NotSupportedError, connections
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_esdb.db.vendors import (
    begins_without_write_lock,
    most_connections,
    useless_lock_wait,
)
from django_esdb.exceptions import ViewDatabaseError
from django_esdb.masking import shown_value
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.recorders.rows.schema.model_info import model_info
from django_esdb.registry import Registration, registry


def check_databases() -> Iterator[CheckMessage]:
    """A view's database must commit, and have connections for each projection."""
    for alias, projections in _projections_by_alias().items():
        connection = connections[alias]
        if not connection.settings_dict["AUTOCOMMIT"]:
            yield Error(
                _(
                    "Database %(alias)s has AUTOCOMMIT False: positions and leases "
                    "would not be committed, nor be seen by other processes."
                )
                % {"alias": repr(alias)},
                hint=_("Leave it out; batches have transactions all the same."),
                id="django_esdb.E022",
            )
        # Each has one, and renewing leases takes another one.
        needed = projections + 1
        limit = most_connections(connection)
        if limit is not None and limit < needed:
            yield Warning(
                ngettext(
                    "The pool of database %(alias)s has %(limit)s connection at "
                    "most, but a worker with its projections needs %(needed)s.",
                    "The pool of database %(alias)s has %(limit)s connections at "
                    "most, but a worker with its projections needs %(needed)s.",
                    limit,
                )
                % {"alias": repr(alias), "limit": limit, "needed": needed},
                hint=_('Set OPTIONS["pool"]["max_size"] to %(needed)s or more.')
                % {"needed": needed},
                id="django_esdb.W022",
            )
        seconds = useless_lock_wait(connection)
        if seconds is not None:
            yield Warning(
                _(
                    "SQLite database %(alias)s has the timeout %(seconds)s, so what "
                    "finds it locked fails before another one can have written."
                )
                % {"alias": repr(alias), "seconds": shown_value(seconds)},
                hint=_('Set OPTIONS["timeout"] to a number of seconds, such as 20.'),
                id="django_esdb.W026",
            )
        if begins_without_write_lock(connection):
            yield Warning(
                _(
                    "Transactions on SQLite database %(alias)s take the write lock "
                    "late, so they fail at once where a projection and a site "
                    "write."
                )
                % {"alias": repr(alias)},
                hint=_(
                    'Set OPTIONS to {"transaction_mode": "IMMEDIATE", "timeout": 20}.'
                ),
                id="django_esdb.W023",
            )


def check_read_models() -> Iterator[CheckMessage]:
    """Read models should be of a kind that ``rows`` takes."""
    for registration in registry:
        if _alias(registration) is None:
            # Another check reports what is wrong.
            continue
        for model in getattr(registration.view_class, "read_models", ()):
            try:
                model_info(model)
            except NotSupportedError as error:
                yield Warning(
                    _("%(model)s cannot be used with rows(): %(reason)s")
                    % {"model": model._meta.label, "reason": error},
                    hint=_("Use its manager in the view, and silence this check."),
                    obj=model,
                    id="django_esdb.W024",
                )


def _projections_by_alias() -> Counter[str]:
    aliases = map(_alias, registry)
    return Counter(alias for alias in aliases if alias is not None)


def _alias(registration: Registration) -> str | None:
    """Return the alias of a view's database; None if it has none that can be told."""
    view_class = registration.view_class
    if not issubclass(view_class, DjangoTrackingRecorder):
        return None
    try:
        return view_class.database()
    except ViewDatabaseError:
        return None
