"""How it is laid out what events would change: as JSON, as lines, or as tables."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_esdb.debugging.dry_run import EventRun
from django_esdb.debugging.values import plain
from django_esdb.debugging.watch import Change, are_alike
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import LONGEST_NAME, one_line

_LONGEST_VALUE = 500
_NOTHING = "-"


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
    for change in run.changes:
        yield f"    {_kind(change)} {_name(change)}: {', '.join(_parts(change))}"


def table_of(run: EventRun, *, with_colour: bool) -> list[str]:
    """Return the rows that are changed as a table that fits the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("", "row", "field", "before", "after"):
        table.add_column(title, overflow="fold")
    for change in run.changes:
        first = (_kind(change), _name(change))
        for name, before, after in _fields(change):
            table.add_row(*map(_cell, (*first, name, before, after)))
            first = ("", "")
    console = Console(
        file=io.StringIO(),
        width=max(shutil.get_terminal_size().columns - 4, 20),
        force_terminal=with_colour,
        color_system="standard" if with_colour else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(table)
    return [f"    {line.rstrip()}" for line in capture.get().splitlines()]


def _cell(text: str) -> Text:
    return Text(text)


def _kind(change: Change) -> str:
    if change.before is None:
        return "inserted"
    return "deleted" if change.after is None else "updated"


def _name(change: Change) -> str:
    if change.pk is None:
        return change.model
    return f"{change.model} {shown(_text(plain(change.pk)), LONGEST_NAME)}"


def _parts(change: Change) -> Iterator[str]:
    for name, before, after in _fields(change):
        if change.before is None:
            yield f"{name} {after}"
        elif change.after is None:
            yield f"{name} {before}"
        else:
            yield f"{name} {before} -> {after}"


def _fields(change: Change) -> Iterator[tuple[str, str, str]]:
    """Yield the fields that differ; all of a row that is inserted or deleted."""
    before, after = change.before or {}, change.after or {}
    for name in before or after:
        is_there = name in before and name in after
        if not is_there or not are_alike(before[name], after[name]):
            yield name, _value(before, name), _value(after, name)


def _value(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return _NOTHING
    return one_line(
        json.dumps(plain(row[name], name), ensure_ascii=False), _LONGEST_VALUE
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
