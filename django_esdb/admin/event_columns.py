"""What the admin shows of events that were not processed."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_esdb.models import UnprocessedEvent
from django_esdb.status.status import shown, shown_lines

# Longest text in a list; a page of its own has all of it.
SHORT = 200
_NOT_TRIED = _("not tried: an earlier event of its aggregate has failed")


class EventColumns:
    """Columns of events that were not processed."""

    @admin.display(description=_("aggregate"), ordering="originator_id")
    def aggregate(self, event: UnprocessedEvent) -> str:
        return shown(event.originator_id, SHORT)

    @admin.display(description=_("event"), ordering="topic")
    def event_class(self, event: UnprocessedEvent) -> str:
        return shown(event.topic.rpartition(":")[2], SHORT)

    @admin.display(description=_("topic"))
    def event_topic(self, event: UnprocessedEvent) -> str:
        return shown(event.topic)

    @admin.display(description=_("error"))
    def short_error(self, event: UnprocessedEvent) -> str:
        return shown(event.error, SHORT) or str(_NOT_TRIED)

    @admin.display(description=_("error"))
    def whole_error(self, event: UnprocessedEvent) -> str:
        return shown(event.error) or str(_NOT_TRIED)

    @admin.display(description=_("traceback"))
    def place(self, event: UnprocessedEvent) -> str:
        return preformatted(event.traceback)


def preformatted(text: str) -> str:
    """Return a stored traceback as HTML."""
    return format_html("<pre>{}</pre>", shown_lines(text)) if text else ""
