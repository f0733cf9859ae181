"""The system check of the function that says more in events' metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _
from eventsourcing.utils import Environment

from django_esdb.conf import EVENT_METADATA
from django_esdb.masking import without_credentials
from eventsourcing_eventstoredb.metadata import provider_named


def check_event_metadata(environments: Iterable[Environment]) -> Iterator[CheckMessage]:
    """It must be there, and be a function that can be called."""
    names = {env.get(EVENT_METADATA) for env in environments}
    for name in sorted(each for each in names if each):
        try:
            provider_named(name)
        except ValueError as error:
            yield Error(
                _("ESDB_EVENT_METADATA cannot be used: %(reason)s.")
                % {"reason": without_credentials(str(error))},
                hint=_(
                    'It is like "school.events.metadata", a function without '
                    "arguments that returns a dictionary of texts."
                ),
                id="django_esdb.E030",
            )
