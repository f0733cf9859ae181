"""Plots of lag and rate, as the attributes of SVG's elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from django_esdb.models import SAMPLES
from django_esdb.status.samples import Sample

WIDTH = 300
HEIGHT = 60
# Lines are as wide as they are, also at the upper and the lower end.
_MARGIN = 2
# A minute without a sample is a gap; clocks are not that exact.
_GAP = timedelta(seconds=110)
# Of one sample alone; a line without a length is not drawn.
_SHORTEST = 1


@dataclass(frozen=True)
class Plot:
    """
    Lag and rate over the last hour.

    Attributes:
        area: The lag in events, as the ``d`` of a closed path.
        line: The rate, as the ``d`` of an open one.
        most_events: What the highest lag is, in words.
        most_rate: What the highest rate is, in words.
    """

    area: str
    line: str
    most_events: str
    most_rate: str
    view_box: str = f"0 0 {WIDTH} {HEIGHT}"

    @property
    def text(self) -> str:
        """What the plot shows, in a sentence."""
        return gettext("In the last hour %(events)s, %(rate)s.") % {
            "events": self.most_events,
            "rate": self.most_rate,
        }


def plot(samples: Sequence[Sample], now: datetime) -> Plot | None:
    """
    Return the plot of samples, earliest first; None if there is none to plot.

    Each of the two has a scale of its own, from zero to its highest value.
    """
    if not samples:
        return None
    most_events = max(each.events or 0 for each in samples)
    most_rate = max(each.rate for each in samples)
    parts = list(_parts(samples))
    area = [
        _closed(_points(part, now, lambda each: each.events or 0, most_events))
        for part in parts
    ]
    line = [
        _open(_points(part, now, lambda each: each.rate, most_rate)) for part in parts
    ]
    return Plot(
        " ".join(area),
        " ".join(line),
        ngettext(
            "at most %(count)s event behind",
            "at most %(count)s events behind",
            most_events,
        )
        % {"count": number_format(most_events, force_grouping=True)},
        gettext("at most %(rate)s/s") % {"rate": rate_text(most_rate)},
    )


def rate_text(rate: float) -> str:
    """Return a rate with a digit behind the point where it is small."""
    digits = 0 if rate >= 10 or not rate else 1
    return number_format(rate, digits, force_grouping=True)


def _parts(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Yield samples that have no gap in between, and of which the lag is known."""
    part: list[Sample] = []
    for each in samples:
        is_gap = part and each.taken_at - part[-1].taken_at > _GAP
        if (is_gap or each.events is None) and part:
            yield part
            part = []
        if each.events is not None:
            part.append(each)
    if part:
        yield part


def _points(
    part: Sequence[Sample],
    now: datetime,
    value: Callable[[Sample], float],
    most: float,
) -> list[tuple[float, float]]:
    seconds = SAMPLES * 60
    room = HEIGHT - 2 * _MARGIN
    points = []
    for each in part:
        age = (now - each.taken_at).total_seconds()
        x = WIDTH * (1 - min(max(age / seconds, 0), 1))
        share = value(each) / most if most else 0
        points.append((round(x, 1), round(HEIGHT - _MARGIN - room * share, 1)))
    if len(points) == 1:
        x, y = points[0]
        points.append((x + _SHORTEST, y))
    return points


def _open(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def _closed(points: Sequence[tuple[float, float]]) -> str:
    (first, _), (last, _) = points[0], points[-1]
    return f"{_open(points)} L{last:g} {HEIGHT} L{first:g} {HEIGHT} Z"
