"""How far a copy has come, as the command shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from django_esdb.copying.copier import Progress

_SECONDS = 3.0
_BAR_SECONDS = 0.1


@contextmanager
def shown_progress(
    out: Any, *, is_wanted: bool
) -> Iterator[Callable[[Progress], None]]:
    """
    Yield what shows progress: a bar on a terminal, else a line every few seconds.

    Args:
        out: The command's output.
        is_wanted: Whether anything is shown at all.
    """
    if not is_wanted:
        yield lambda progress: None
    elif out.isatty():
        with _bar(out) as report:
            yield report
    else:
        yield _paced(lambda progress: out.write(_line(progress)), _SECONDS)


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


def _line(progress: Progress) -> str:
    return f"{progress.phase}: {progress.events} events, {progress.fraction:.0%}"


@contextmanager
def _bar(out: Any) -> Iterator[Callable[[Progress], None]]:
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[events]} events"),
        TimeRemainingColumn(),
        console=Console(file=out),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0, events=0)
        phase = ""

        def show(progress: Progress) -> None:
            nonlocal phase
            if progress.phase != phase:
                phase = progress.phase
                # The time that is left is of this phase.
                bar.reset(task, description=phase, events=0)
            bar.update(task, completed=progress.fraction, events=progress.events)

        yield _paced(show, _BAR_SECONDS)
