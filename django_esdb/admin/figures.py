"""What there is to say of projections in figures, in the language that is active."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from django_esdb.admin.plots import rate_text
from django_esdb.moments import in_largest_unit
from django_esdb.status.lag import Lag

NOTHING = "-"


def events_behind(lag: Lag) -> str:
    """Return how many events a projection is behind; ``-`` if that is not known."""
    if lag.events is None:
        return NOTHING
    text = ngettext("%(count)s event", "%(count)s events", lag.events) % {
        "count": count_text(lag.events)
    }
    return text if lag.is_exact else _at_least(text)


def seconds_behind(lag: Lag) -> str:
    """Return how long a projection is behind; ``-`` if that is not known."""
    if lag.seconds is None:
        return NOTHING
    # A projection that is behind by an event of the same moment is not at the end.
    text = "<1 s" if 0 < lag.seconds < 1 else duration(lag.seconds)
    return text if lag.is_current else _at_least(text)


def rate(lag: Lag) -> str:
    """Return how many events a projection processes in a second."""
    return f"{rate_text(lag.rate)}/s"


def time_left(lag: Lag) -> str:
    """Return how long a projection takes to catch up; ``-`` if that is not known."""
    return NOTHING if lag.eta_seconds is None else duration(lag.eta_seconds)


def duration(seconds: float) -> str:
    """Return a number of seconds in its largest unit, without a fraction."""
    count, unit = in_largest_unit(seconds)
    # Of days there may be thousands.
    return f"{count_text(count)} {unit}"


def count_text(count: float) -> str:
    """Return a whole number with its thousands apart."""
    return number_format(count, 0, force_grouping=True)


def _at_least(text: str) -> str:
    return gettext("at least %(amount)s") % {"amount": text}
