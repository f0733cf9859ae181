"""How far a command has come: the one way in which all of them show it."""

from __future__ import annotations

import logging
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from django_esdb.moments import duration

_SECONDS = 3.0
_BAR_SECONDS = 0.1
_QUIET = 0


class Progress(Protocol):
    """
    How far something has come.

    Attributes:
        phase: What is being done; a rate and the time that is left are a phase's.
        events: How many events that was so far.
        fraction: Which part of the whole that is, from 0 to 1; None if it is not known.
    """

    @property
    def phase(self) -> str: ...
    @property
    def events(self) -> int: ...
    @property
    def fraction(self) -> float | None: ...


class Shown:
    """
    What a command shows while it works, besides its lines.

    Args:
        say: Writes a line.
        complain: Writes a line about what is wrong.
        report: Shows a progress, if it is time; None to show none.

    Attributes:
        is_silent: Whether no progress is shown.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        complain: Callable[[str], None],
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self.say = say
        self.complain = complain
        self.is_silent = report is None
        self._report = report

    def report(self, progress: Progress) -> None:
        """Show how far it is, if it is time; any thread, one at a time."""
        if self._report is not None:
            self._report(progress)


class Pace:
    """How fast a phase goes, and how long it will take."""

    def __init__(self) -> None:
        self._first: Progress | None = None
        self._began = 0.0
        self.rate = 0.0
        self.seconds_left: float | None = None

    def moved(self, progress: Progress) -> None:
        """Note how far it is now."""
        now = monotonic()
        first = self._first
        if first is None or first.phase != progress.phase:
            self._first, self._began = progress, now
            self.rate, self.seconds_left = 0.0, None
            return
        seconds = now - self._began
        if seconds <= 0:
            return
        self.rate = max(progress.events - first.events, 0) / seconds
        moved = (progress.fraction or 0.0) - (first.fraction or 0.0)
        self.seconds_left = None
        if progress.fraction is not None and moved > 0:
            self.seconds_left = seconds * max(1 - progress.fraction, 0.0) / moved


def add_progress_argument(parser: ArgumentParser) -> None:
    """Add the option that leaves out what :func:`shown_progress` shows."""
    parser.add_argument(
        "--no-progress",
        action="store_true",
        help="Do not show how far it is.",
    )


@contextmanager
def shown_progress(
    out: Any, options: Mapping[str, Any], err: Any, *, is_wanted: bool = True
) -> Iterator[Shown]:
    """
    Yield what shows progress: a bar on a terminal, else a line every few seconds.

    Nothing is shown with ``--no-progress`` and ``-v 0``. Any thread may report, one at
    a time. What is written about what is wrong, and what is logged to a terminal,
    stands above the bar.

    Args:
        out: The command's output.
        options: The command's.
        err: Where it writes what is wrong.
        is_wanted: Whether anything is shown at all.
    """
    is_silent = options.get("verbosity", 1) == _QUIET or options.get("no_progress")

    def say(line: str) -> None:
        out.write(line)
        # What watches the output of a service reads a pipe.
        out.flush()

    if is_silent or not is_wanted:
        yield Shown(say, err.write)
    elif out.isatty():
        with _bar(out, err) as shown:
            yield shown
    else:
        pace = Pace()
        show = _paced(lambda progress: say(_line(progress, pace)), _SECONDS)

        def report(progress: Progress) -> None:
            pace.moved(progress)
            show(progress)

        yield Shown(say, err.write, report)


def _paced(
    show: Callable[[Progress], object], seconds: float
) -> Callable[[Progress], None]:
    """Return what shows a progress if the last one is so many seconds old."""
    shown = monotonic()

    def report(progress: Progress) -> None:
        nonlocal shown
        now = monotonic()
        if now - shown >= seconds:
            shown = now
            show(progress)

    return report


def _line(progress: Progress, pace: Pace) -> str:
    parts = [f"{progress.events} events"]
    if progress.fraction is not None:
        parts.append(f"{progress.fraction:.0%}")
    if pace.rate:
        parts.append(f"{pace.rate:.0f}/s")
    if pace.seconds_left is not None and pace.seconds_left > 0:
        parts.append(f"{duration(pace.seconds_left)} left")
    return f"{progress.phase}: {', '.join(parts)}"


@contextmanager
def _bar(out: Any, err: Any) -> Iterator[Shown]:
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[percent]}"),
        TextColumn("{task.fields[events]} events"),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
        console=Console(file=out),
        transient=True,
    )
    pace = Pace()
    nothing: dict[str, Any] = {"events": 0, "rate": 0.0, "percent": ""}
    with bar, _logged_above(bar):
        task = bar.add_task("", total=None, **nothing)
        phase = ""

        def show(progress: Progress) -> None:
            nonlocal phase
            if progress.phase != phase:
                phase = progress.phase
                # The time that is left is of this phase.
                bar.reset(task, description=escape(phase), **nothing)
            fraction = progress.fraction
            bar.update(
                task,
                total=None if fraction is None else 1.0,
                completed=fraction or 0.0,
                events=progress.events,
                rate=pace.rate,
                percent="" if fraction is None else f"{fraction:>4.0%}",
            )

        paced = _paced(show, _BAR_SECONDS)

        def report(progress: Progress) -> None:
            pace.moved(progress)
            paced(progress)

        yield Shown(
            # Above the bar, which is drawn again below.
            lambda line: bar.console.print(line, markup=False, highlight=False),
            _Above(bar, err).write,
            report,
        )


class _Above:
    """A stream, whose lines are written while the bar is not there."""

    def __init__(self, bar: Bar, stream: Any) -> None:
        self._bar = bar
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write, and draw the bar again below."""
        with _writing:
            self._bar.stop()
            try:
                self._stream.write(text)
                self._stream.flush()
            finally:
                self._bar.start()


_writing = threading.RLock()


def _is_terminal(stream: Any) -> bool:
    """Tell whether a stream is a terminal; of handlers it may be anything."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        # A file that is not open yet, or not any more.
        return False


@contextmanager
def _logged_above(bar: Bar) -> Iterator[None]:
    """Have what is logged to a terminal stand above the bar while the block runs."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {
        handler: handler.stream
        for each in loggers
        for handler in getattr(each, "handlers", ())
        if isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream)
    }
    for handler, stream in handlers.items():
        handler.setStream(_Above(bar, stream))
    try:
        yield
    finally:
        for handler, stream in handlers.items():
            handler.setStream(stream)
        with _writing:
            # What another thread has begun to write must not draw it again.
            bar.stop()
            bar.disable = True
