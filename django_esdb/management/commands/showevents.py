from __future__ import annotations

import json
import shutil
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, no_translations
from eventsourcing.persistence import (
    OperationalError,
)

from django_esdb.events.stored_events import (
    Payload,
    StoredEvents,
    as_json,
    stored_events,
)
from django_esdb.management.base import CONFIGURATION, SafeCommand
from django_esdb.management.commands._applications import (
    add_application_argument,
    choose_application,
    store_errors,
)
from django_esdb.management.commands._projections import require_valid_configuration
from django_esdb.moments import exact_time, parse_since
from eventsourcing_eventstoredb.browsing.browser import BrowsedEvent, Page
from eventsourcing_eventstoredb.text import (
    LONGEST_NAME,
    can_be_encoded,
    one_line,
    quoted,
)

_FOLLOW_SECONDS = 0.5
_FOLLOW_PAGE = 500
_LONGEST_PAYLOAD = 100_000
# They are kept until all are there, since the oldest comes first.
_MOST = 100_000


class Command(SafeCommand):
    help = (
        "Shows the last events of an application, oldest first, as they lie in "
        "EventStoreDB: when, at which position, in which stream, and what they say. "
        "Only reads."
    )
    exit_statuses = {
        "0": "shown, whether there are some or not",
        "1": "the event store cannot be used",
        "2": "there is no such application, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_application_argument(parser)
        parser.add_argument(
            "--stream",
            default="",
            type=_text,
            metavar="ID",
            help="Show one stream: an aggregate's ID, or a stream's own name.",
        )
        parser.add_argument(
            "--prefix",
            default="",
            type=_text,
            metavar="TEXT",
            help="Show streams whose names begin with it.",
        )
        parser.add_argument(
            "--topic",
            action="append",
            type=_text,
            default=[],
            dest="topics",
            metavar="T",
            help="Show events of this topic; may be given several times.",
        )
        parser.add_argument(
            "--since",
            type=_since,
            metavar="T",
            help=(
                "Show events from then on: 2026-11-26, 2026-11-26T09:30, in the "
                "project's time zone, or 30s, 15m, 2h, 7d, 1w ago."
            ),
        )
        parser.add_argument(
            "--limit",
            type=_positive,
            default=50,
            metavar="N",
            help="Show at most the last N events (default: 50).",
        )
        parser.add_argument(
            "--follow",
            action="store_true",
            help="Continue with events that come, until interrupted.",
        )
        parser.add_argument(
            "--full",
            action="store_true",
            help="Show all that events say, on several lines.",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="Print a JSON list; with --follow an object on each line.",
        )

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        require_valid_configuration()
        if options["stream"] and options["prefix"]:
            msg = "Give --stream or --prefix, not both"
            raise CommandError(msg, returncode=CONFIGURATION)
        application_class = choose_application(name)
        with (
            store_errors(application_class),
            stored_events(application_class) as stored,
        ):
            self._show(stored, options)

    def _show(self, stored: StoredEvents, options: dict[str, Any]) -> None:
        is_json, follows = options["json"], options["follow"]
        stream = options["stream"] and stored.browser.stream_named(options["stream"])
        # Before the page is read, so that nothing lies between that and what follows.
        head = stored.head() if follows else None
        page = _last(stored, stream, options)
        events = page.events[::-1]
        if page.next_before is not None:
            self.stderr.write(_rest(page, options))
        if is_json and not follows:
            self.stdout.write(
                json.dumps([as_json(e, stored.payload(e)) for e in events], indent=2)
            )
            return
        self._write(stored, events, options)
        if not events and not is_json:
            self.stdout.write("There are no such events.")
        if follows:
            known = [] if head is None else [head]
            position = max([*known, *(e.position for e in events)], default=None)
            with suppress(KeyboardInterrupt):
                self._follow(stored, stream, position, options)

    def _follow(
        self,
        stored: StoredEvents,
        stream: str,
        position: int | None,
        options: dict[str, Any],
    ) -> None:
        is_away = False
        while True:
            try:
                for events, reached in _following(stored, stream, position, options):
                    self._write(stored, events, options)
                    position = reached
            except OperationalError as error:
                if not is_away:
                    text = f"{one_line(error)}; trying again"
                    self.stderr.write(self.style.ERROR(text))
                is_away = True
            else:
                if is_away:
                    self.stderr.write("The event store can be used again")
                is_away = False
            self.stdout.flush()
            time.sleep(_FOLLOW_SECONDS)

    def _write(
        self,
        stored: StoredEvents,
        events: Sequence[BrowsedEvent],
        options: dict[str, Any],
    ) -> None:
        for event in events:
            payload = stored.payload(event)
            if options["json"]:
                self.stdout.write(json.dumps(as_json(event, payload)))
                continue
            for line in self._lines(event, payload, is_full=options["full"]):
                self.stdout.write(line)

    def _lines(
        self, event: BrowsedEvent, payload: Payload, *, is_full: bool
    ) -> Iterator[str]:
        width = shutil.get_terminal_size((0, 0)).columns or _LONGEST_PAYLOAD
        kind = "snapshot " if event.is_snapshot else ""
        yield self.style.MIGRATE_HEADING(
            f"{exact_time(event.time)}  {kind}{one_line(event.topic, LONGEST_NAME)}"
        )
        yield (
            f"    {one_line(event.stream, LONGEST_NAME)} @ {event.stream_position}, "
            f"position {event.position}, ID {one_line(event.event_id, LONGEST_NAME)}"
        )
        if event.metadata:
            yield from _said("metadata", event.metadata, width, is_full=is_full)
        marks = f" ({', '.join(payload.marks)})" if payload.marks else ""
        if payload.problem:
            yield self.style.ERROR(
                f"    {len(event.data)} bytes that cannot be read: {payload.problem}"
            )
        else:
            yield from _said(f"payload{marks}", payload.value, width, is_full=is_full)


def _last(stored: StoredEvents, stream: str, options: dict[str, Any]) -> Page:
    browser, limit = stored.browser, options["limit"]
    found: dict[str, Any] = {"topics": options["topics"], "since": options["since"]}
    if stream:
        return browser.stream(stream, limit, **found)
    return browser.newest(limit, stream_prefix=options["prefix"], **found)


def _following(
    stored: StoredEvents, stream: str, position: int | None, options: dict[str, Any]
) -> Iterator[tuple[Sequence[BrowsedEvent], int | None]]:
    """Yield what follows a position, with the position to continue from each time."""
    head = stored.head()
    if head is None or head == position:
        return
    has_more = True
    while has_more:
        found = stored.browser.following(
            position,
            _FOLLOW_PAGE,
            topics=options["topics"],
            stream=stream,
            stream_prefix=options["prefix"],
        )
        position, has_more = found.position, found.has_more
        yield found.events, position
    # What does not match need not be looked at once more.
    yield (), head if position is None else max(position, head)


def _rest(page: Page, options: dict[str, Any]) -> str:
    if len(page.events) == options["limit"]:
        return f"Older events are left out: there are more than {options['limit']}"
    return (
        "Older events are left out: too many were looked at of which none matches; "
        "say --since or --stream"
    )


def _said(name: str, value: Any, width: int, *, is_full: bool) -> Iterator[str]:
    """Lay out what an event says: in a line that fits, or whole."""
    if not is_full:
        text = json.dumps(value, ensure_ascii=False)
        yield "    " + one_line(f"{name} {text}", max(width - 4, 20))
        return
    yield f"    {name}"
    # Escaped, so that nothing in it ends a line or colours the terminal.
    for line in json.dumps(value, indent=2).splitlines():
        yield f"      {line}"


def _since(text: str) -> datetime:
    try:
        return parse_since(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _text(text: str) -> str:
    if not can_be_encoded(text):
        msg = f"{quoted(text)} has what is no character of UTF-8"
        raise ArgumentTypeError(msg)
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 20 or not 0 < int(text) <= _MOST:
        msg = f"{quoted(text)} is no whole number from 1 to {_MOST}"
        raise ArgumentTypeError(msg)
    return int(text)
