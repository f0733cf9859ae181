"""How it is laid out what events would change: as JSON, as lines, or as tables."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_esdb.debugging.dry_run import EventRun
from django_esdb.debugging.shown_changes import (
    DELETED,
    UPDATED,
    ShownChange,
    shown_change,
)
from django_esdb.debugging.values import plain
from django_esdb.debugging.watch import Change
from eventsourcing_eventstoredb.text import LONGEST_NAME, one_line


def as_json(run: EventRun) -> dict[str, Any]:
    """Return what an event would change, as JSON can say it; nothing is shortened."""
    said: dict[str, Any] = {
        "position": run.position,
        "topic": run.topic,
        "seconds": round(run.seconds, 6),
        "error": run.error or None,
        "changes": [_change_as_json(change) for change in run.changes],
    }
    if run.traceback:
        said["traceback"] = run.traceback
    if run.notes:
        said["notes"] = list(run.notes)
    return said


def _change_as_json(change: Change) -> dict[str, Any]:
    return {
        "model": change.model,
        "pk": plain(change.pk),
        "before": None if change.before is None else _row(change.before),
        "after": None if change.after is None else _row(change.after),
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(value, name) for name, value in row.items()}


def heading_of(run: EventRun) -> str:
    """Return the line that stands above what an event would change."""
    topic = one_line(run.topic, LONGEST_NAME)
    return f"{run.position}  {topic}  {run.seconds * 1000:.1f} ms"


def lines_of(run: EventRun) -> Iterator[str]:
    """Yield a line for each row that is changed, where there is no terminal."""
    for change in map(shown_change, run.changes):
        yield f"    {change.kind} {_name(change)}: {', '.join(_parts(change))}"


def table_of(run: EventRun, *, with_colour: bool) -> list[str]:
    """Return the rows that are changed as a table that fits the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("", "row", "field", "before", "after"):
        table.add_column(title, overflow="fold")
    for change in map(shown_change, run.changes):
        first = (change.kind, _name(change))
        for field in change.fields:
            # What is stored is never taken for markup.
            table.add_row(*map(Text, (*first, *field)))
            first = ("", "")
    console = Console(
        file=io.StringIO(),
        width=max(shutil.get_terminal_size().columns - 4, 20),
        force_terminal=with_colour,
        color_system="standard" if with_colour else None,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(table)
    return [f"    {line.rstrip()}" for line in capture.get().splitlines()]


def _name(change: ShownChange) -> str:
    return f"{change.model} {change.pk}" if change.pk else change.model


def _parts(change: ShownChange) -> Iterator[str]:
    for name, before, after in change.fields:
        if change.kind == UPDATED:
            yield f"{name} {before} -> {after}"
        else:
            yield f"{name} {before if change.kind == DELETED else after}"
