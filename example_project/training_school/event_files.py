"""
Files of recorded events: one JSON object a line, in the order of recording.

A line has the event's ``stream``, its ``revision`` there, ``id``, ``type``,
``content_type``, and ``data`` and ``metadata`` in base64. More is ignored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError

from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent, StreamState
from eventsourcing_eventstoredb.streams.append_batches import append_batches
from eventsourcing_eventstoredb.streams.appending import append

_CONTENT_TYPES = ("application/json", "application/octet-stream")
_MAX_REVISION = 2**63 - 2


class EventFileError(Exception):
    """A file cannot be loaded; the text is one line and names the file's line."""


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event and the line that it is in, counted from 1."""

    line: int
    stream: str
    revision: int
    event: ProposedEvent

    @property
    def size(self) -> int:
        """Bytes that it takes in an append, approximately."""
        return len(self.event.data) + len(self.event.metadata) + 200


def read_events(path: Path) -> list[FileEvent]:
    """
    Read a whole file; empty lines are passed over.

    Raises:
        EventFileError: It cannot be read, or a line is not as it should be.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise EventFileError(f"Cannot read {path}: {error.strerror}") from None
    events: list[FileEvent] = []
    last_revisions: dict[str, int] = {}
    seen: dict[UUID, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = _parse(number, line)
            _check_revision(event, last_revisions)
            if event.event.id in seen:
                msg = f"id {event.event.id} is that of line {seen[event.event.id]} too"
                raise ValueError(msg)
        except ValueError as error:
            raise EventFileError(f"{path}, line {number}: {error}") from None
        seen[event.event.id] = number
        events.append(event)
    return events


def _check_revision(event: FileEvent, last_revisions: dict[str, int]) -> None:
    last = last_revisions.get(event.stream)
    if last is not None and event.revision != last + 1:
        msg = (
            f"revision is {event.revision}, but the last one of stream "
            f"{event.stream!r} was {last}, so it must be {last + 1}"
        )
        raise ValueError(msg)
    last_revisions[event.stream] = event.revision


def _parse(number: int, line: bytes) -> FileEvent:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    if not isinstance(fields, dict):
        msg = f"a JSON object is needed, not {type(fields).__name__}"
        raise ValueError(msg)
    content_type = _text(fields, "content_type")
    if content_type not in _CONTENT_TYPES:
        known = " or ".join(_CONTENT_TYPES)
        msg = f"content_type is {content_type[:50]!r}, but must be {known}"
        raise ValueError(msg)
    return FileEvent(
        line=number,
        stream=_text(fields, "stream"),
        revision=_revision(fields),
        event=ProposedEvent(
            id=_id(fields),
            type=_text(fields, "type"),
            content_type=content_type,
            data=_bytes(fields, "data"),
            metadata=_bytes(fields, "metadata"),
        ),
    )


def _field(fields: dict[str, Any], name: str) -> Any:
    if name not in fields:
        msg = f"the field {name!r} is missing"
        raise ValueError(msg)
    return fields[name]


def _text(fields: dict[str, Any], name: str) -> str:
    value = _field(fields, name)
    if not isinstance(value, str) or not value:
        msg = f"{name} must be a text that is not empty, but is {_shown(value)}"
        raise ValueError(msg)
    try:
        value.encode()
    except UnicodeEncodeError:
        msg = f"{name} has half of a surrogate pair in it: {_shown(value)}"
        raise ValueError(msg) from None
    return value


def _revision(fields: dict[str, Any]) -> int:
    value = _field(fields, "revision")
    if type(value) is not int or not 0 <= value <= _MAX_REVISION:
        msg = f"revision must be a whole number from 0 on, but is {_shown(value)}"
        raise ValueError(msg)
    return value


def _id(fields: dict[str, Any]) -> UUID:
    try:
        return UUID(_text(fields, "id"))
    except ValueError as error:
        if "badly formed" not in str(error):
            raise
        msg = f"id must be a UUID, but is {_shown(fields['id'])}"
        raise ValueError(msg) from None


def _bytes(fields: dict[str, Any], name: str) -> bytes:
    value = _field(fields, name)
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except ValueError:
        pass
    msg = f"{name} must be base64, but is {_shown(value)}"
    raise ValueError(msg)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def append_events(
    client: EventStoreDBClient,
    path: Path,
    events: Sequence[FileEvent],
    report: Callable[[int], object] = lambda count: None,
) -> None:
    """
    Append a file's events in their order, with their IDs and revisions.

    Events of one stream that follow each other go in one append. The event
    store recognises events that it has at the same place, so appending the
    same ones again changes nothing.

    Args:
        client: A client of the event store.
        path: The file's path, for messages.
        events: What is in it.
        report: Called with how many are there by now.

    Raises:
        EventFileError: The event store has something else where an event
            should be, or does not take it. What lies before it is appended.
        eventsourcing.persistence.OperationalError: The event store cannot be
            reached.
    """
    done = 0
    for batch in append_batches(events):
        try:
            _append(client, batch)
        except IntegrityError:
            # The stream may have just the first of them; single events are
            # recognised also then.
            for event in batch:
                _append_one(client, path, event)
        done += len(batch)
        report(done)


def _append(client: EventStoreDBClient, batch: Sequence[FileEvent]) -> None:
    first = batch[0]
    append(
        client,
        first.stream,
        first.revision - 1 if first.revision else StreamState.NO_STREAM,
        [item.event for item in batch],
    )


def _append_one(client: EventStoreDBClient, path: Path, event: FileEvent) -> None:
    try:
        _append(client, [event])
    except IntegrityError as error:
        msg = (
            f"{path}, line {event.line}: the event store has no place for revision "
            f"{event.revision} of this event's stream: {error}"
        )
        raise EventFileError(msg) from None
