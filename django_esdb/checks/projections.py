"""Whether projections that are registered go together."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _

from django_esdb.exceptions import ViewDatabaseError
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import registry


def check_projections() -> Iterator[CheckMessage]:
    """Names must be unique, and a view's rows in its own database."""
    if registry.discovery_error is not None:
        yield Error(
            _("Two projections have one name: %(reason)s.")
            % {"reason": registry.discovery_error},
            id="django_esdb.E005",
        )
    owners: dict[str, str] = {}
    for registration in registry:
        view_class = registration.view_class
        if not issubclass(view_class, DjangoTrackingRecorder):
            continue
        try:
            view_class.database()
        except ViewDatabaseError as error:
            yield Error(
                _("A view's database cannot be used: %(reason)s.") % {"reason": error},
                obj=view_class,
                id="django_esdb.E006",
            )
            continue
        for model in view_class.read_models:
            owner = owners.setdefault(model._meta.label, registration.name)
            if owner != registration.name:
                yield Error(
                    _(
                        "%(model)s is a read model of both %(owner)s and %(name)s, "
                        "whose positions differ."
                    )
                    % {
                        "model": model._meta.label,
                        "owner": owner,
                        "name": registration.name,
                    },
                    hint=_("Give each projection read models of its own."),
                    id="django_esdb.E007",
                )
