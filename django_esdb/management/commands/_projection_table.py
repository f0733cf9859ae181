"""How projections' states are laid out on a terminal, or where there is none."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from django_esdb.moments import duration
from django_esdb.status.advice import LOST
from django_esdb.status.failed_places import FailedPlace
from django_esdb.status.status import ProjectionStatus, local, place, shown

_INDENT = 2
_GAP = 2
# Where there is no terminal, lines end where their text does.
_UNLIMITED = 100_000
_STATE_STYLES = {
    "running": "green",
    "retrying": "yellow",
    "standing by": "yellow",
    "paused": "red",
    "failed": "red",
    LOST: "red",
}
_NOTHING = "-"


def lines_of(
    statuses: Sequence[ProjectionStatus],
    places: Mapping[Any, Sequence[FailedPlace]] | None,
    *,
    with_colour: bool,
) -> list[str]:
    """
    Return a table of projections as lines, none wider than the terminal.

    Below each projection stands what is wrong, what to do, and what is not in the
    columns. Columns that have no room are left out, and stand there, too.

    Args:
        statuses: The projections.
        places: Where their events have failed, by the statuses' keys; None to leave
            out all places.
        with_colour: Whether the terminal has colours, and they are wanted.
    """
    printer = _Printer(statuses, with_colour=with_colour)
    for status in statuses:
        printer.show(status, None if places is None else places.get(status.key, ()))
    return printer.lines()


def behind(status: ProjectionStatus) -> str:
    """Return how many events a projection is behind, in a few words."""
    lag = status.lag
    if lag.events is None:
        return _NOTHING
    return str(lag.events) if lag.is_exact else f"at least {lag.events}"


def seconds_behind(status: ProjectionStatus) -> str:
    """Return how long a projection is behind, in a few words."""
    lag = status.lag
    if lag.seconds is None:
        return _NOTHING
    # A projection that is behind by an event of the same moment is not at the end.
    text = "<1 s" if 0 < lag.seconds < 1 else duration(lag.seconds)
    return text if lag.is_current else f"at least {text}"


def _rate(status: ProjectionStatus) -> str:
    rate = status.lag.rate
    return f"{rate:.0f}/s" if rate >= 10 or not rate else f"{rate:.1f}/s"


def _left(status: ProjectionStatus) -> str:
    seconds = status.lag.eta_seconds
    return _NOTHING if seconds is None else duration(seconds)


def _failed(status: ProjectionStatus) -> str:
    return str(status.failed_events - status.waiting_events)


# What stands in columns behind state and name, the most important first.
_COLUMNS: dict[str, Callable[[ProjectionStatus], str]] = {
    "behind": behind,
    "lag": seconds_behind,
    "rate": _rate,
    "left": _left,
    "failed": _failed,
    "waiting": lambda status: str(status.waiting_events),
}


class _Printer:
    """Lays texts out; what is stored is never taken for markup."""

    def __init__(
        self, statuses: Sequence[ProjectionStatus], *, with_colour: bool
    ) -> None:
        # Rich needs room for the indent and a letter.
        width = max(shutil.get_terminal_size((_UNLIMITED, 0)).columns, _INDENT + 2)
        self._console = Console(
            file=io.StringIO(),
            width=width,
            force_terminal=with_colour,
            color_system="standard" if with_colour else None,
            legacy_windows=False,
        )
        self._parts: list[str] = []
        self._widths = self._fitting(statuses)
        if self._widths:
            titles = [each.upper() for each in self._widths]
            self._add(Text(self._aligned(titles), style="bold"), 0)

    def show(
        self, status: ProjectionStatus, places: Sequence[FailedPlace] | None
    ) -> None:
        """Add a projection: its row of the table, the cause below, then the rest."""
        style = _STATE_STYLES.get(status.state, "")
        self._add(self._row(status, style), 0)
        if status.error:
            self._add(Text(status.error, style=style), _INDENT)
        if places is not None:
            self._traceback(status.traceback)
        for line in status.advice:
            self._add(Text(line), _INDENT)
        self._add(Text(", ".join(self._facts(status)), style="dim"), _INDENT)
        for each in places or ():
            self._add(Text(each.text, style="red"), _INDENT)
            self._traceback(each.traceback)

    def lines(self) -> list[str]:
        """Return all lines."""
        return [line.rstrip() for part in self._parts for line in part.splitlines()]

    def _fitting(self, statuses: Sequence[ProjectionStatus]) -> dict[str, int]:
        """Return the widths of the columns that the terminal has room for."""
        cells = {
            "state": [status.state for status in statuses],
            "projection": [shown(status.projection) for status in statuses],
            **{
                name: [text(status) for status in statuses]
                for name, text in _COLUMNS.items()
            },
        }
        widths: dict[str, int] = {}
        left = self._console.width
        for name, texts in cells.items():
            width = max(map(cell_len, [name, *texts]))
            left -= width + (_GAP if widths else 0)
            if left < 0:
                break
            widths[name] = width
        # A state without its projection is no row.
        return widths if len(widths) > 1 and statuses else {}

    def _row(self, status: ProjectionStatus, style: str) -> Text:
        name = shown(status.projection)
        row = Text(overflow="fold")
        if not self._widths:
            row.append(status.state, style=style)
            row.append(f" {name}", style="bold")
            return row
        texts = [status.state, name]
        texts += [_COLUMNS[each](status) for each in list(self._widths)[2:]]
        row.append(self._aligned(texts))
        row.stylize(style, 0, len(status.state))
        start = row.plain.index(name, len(status.state))
        row.stylize("bold", start, start + len(name))
        return row

    def _aligned(self, texts: Sequence[str]) -> str:
        cells = []
        for text, (name, width) in zip(texts, self._widths.items(), strict=True):
            room = " " * (width - cell_len(text))
            is_number = name in _COLUMNS
            cells.append(room + text if is_number else text + room)
        return (" " * _GAP).join(cells).rstrip()

    def _facts(self, status: ProjectionStatus) -> Iterator[str]:
        yield from facts(status)
        for name, text in _COLUMNS.items():
            # What has no room in the table, if it says something.
            said = text(status)
            if name not in self._widths and said not in (_NOTHING, "0", "0/s"):
                yield f"{name} {said}"

    def _traceback(self, text: str) -> None:
        for line in text.splitlines():
            bare = line.lstrip(" ")
            self._add(Text(bare), 2 * _INDENT + len(line) - len(bare))

    def _add(self, text: Text, indent: int) -> None:
        text.overflow = "fold"
        # Of a narrow terminal some is left for the text.
        indent = min(indent, self._console.width // 2)
        with self._console.capture() as capture:
            self._console.print(Padding(text, (0, 0, 0, indent), expand=False))
        self._parts.append(capture.get())


def facts(status: ProjectionStatus) -> Iterator[str]:
    """Yield what there is to know besides the columns."""
    since, moved = _time(status.state_since), _time(status.updated_at)
    if since:
        yield f"{status.state} since {since}"
    yield "no position" if status.position is None else f"position {status.position}"
    lag = status.lag
    if lag.head is not None:
        yield f"head {lag.head}"
    if lag.unknown_since is not None:
        yield f"lag unknown since {_time(lag.unknown_since)}"
    if not lag.is_current and lag.measured_at is not None:
        yield f"lag measured {_time(lag.measured_at)}"
    if moved:
        yield f"moved {moved}"
    yield f"application {shown(status.application)}"
    if status.database is not None:
        yield f"database {status.database}"
    if status.owner:
        yield f"owner {shown(place(status.owner))}"
    if status.attempts:
        yield f"attempts {status.attempts}"


def _time(value: datetime | None) -> str | None:
    return None if value is None else f"{local(value):%Y-%m-%d %H:%M:%S}"
