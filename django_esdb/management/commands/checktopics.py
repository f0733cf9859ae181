from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import no_translations

from django_esdb.events.stored_topics import StoredTopic, StoredTopics, stored_topics
from django_esdb.management.base import FAILED, SafeCommand
from django_esdb.management.commands._applications import (
    choose_applications,
    store_errors,
)
from django_esdb.management.commands._projections import require_valid_configuration
from eventsourcing_eventstoredb.text import LONGEST_NAME, counted, one_line


class Command(SafeCommand):
    help = (
        "Reads which topics the stored events of applications have, and tells those of "
        "which no event can be made: run it before a deploy. All events are read."
    )
    exit_statuses = {
        "0": "an event can be made of each topic",
        "1": "of some none can be made, or the event store cannot be used",
        "2": "there is no such application, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="APPLICATION",
            help=(
                "The name of an application that a projection is registered for, or "
                "where its class is: school.application:School. All that projections "
                "are registered for if there is none."
            ),
        )
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of lines."
        )

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        require_valid_configuration()
        found = []
        for application_class in choose_applications(names):
            with store_errors(application_class):
                topics = stored_topics(application_class)
            found.append(topics)
            if not options["json"]:
                for line in self._lines(topics):
                    self.stdout.write(line)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(each) for each in found], indent=2))
        if not all(each.is_readable for each in found):
            sys.exit(FAILED)

    def _lines(self, topics: StoredTopics) -> Iterator[str]:
        yield (
            f"{one_line(topics.application)}: "
            f"{counted(topics.events, 'event', 'events')} of "
            f"{counted(len(topics.topics), 'topic', 'topics')}"
        )
        for each in topics.topics:
            line = _line(each)
            yield self.style.ERROR(line) if each.problem else line
        if topics.uncounted:
            number = counted(topics.uncounted, "event", "events")
            yield self.style.ERROR(f"{number} of still more topics")
        if topics.passed_over:
            yield (
                "  Projections pass over these, whose streams are not named by UUIDs; "
                "if they are this application's, set ORIGINATOR_ID_TYPE=text:"
            )
            yield from map(_line, topics.passed_over)


def _line(topic: StoredTopic) -> str:
    problem = f": {one_line(topic.problem)}" if topic.problem else ""
    return f"{topic.count:10}  {one_line(topic.topic, LONGEST_NAME)}{problem}"


def _as_json(topics: StoredTopics) -> dict[str, Any]:
    return {"events": topics.events, **asdict(topics)}
