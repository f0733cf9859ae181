from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from django_esdb import get_application
from django_esdb.management.base import SafeCommand
from django_esdb.management.progress import add_progress_argument, shown_progress
from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.text import counted, one_line
from example_project.training_school.application import TrainingSchool
from example_project.training_school.event_files import (
    EventFileError,
    append_events,
    read_events,
)


@dataclass(frozen=True)
class _Loaded:
    """How much of a file is loaded."""

    events: int
    all_events: int
    phase: str = "Loading"

    @property
    def fraction(self) -> float:
        return self.events / self.all_events


class Command(SafeCommand):
    help = (
        "Appends the events in a file to the event store, with their IDs and at their "
        "revisions, so that loading a file again changes nothing. The file is checked "
        "as a whole before anything is appended."
    )
    exit_statuses = {
        "0": "loaded, or there already",
        "1": "the file or the event store cannot be used; maybe a part was loaded",
        "2": "an option is wrong",
    }
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            metavar="FILE",
            help=(
                "One JSON object a line: stream, revision, id, type, content_type, "
                "and data and metadata in base64."
            ),
        )
        add_progress_argument(parser)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            events = read_events(file)
            factory = get_application(TrainingSchool).factory
            if not isinstance(factory, EventStoreDBFactory):
                msg = (
                    "The school's events are not kept in EventStoreDB, but with "
                    f"{type(factory).__module__}; see PERSISTENCE_MODULE"
                )
                raise CommandError(msg)
            with shown_progress(self.stdout, options, self.stderr) as shown:
                append_events(
                    factory.client,
                    file,
                    events,
                    lambda count: shown.report(_Loaded(count, len(events))),
                )
        except (
            EventFileError,
            InfrastructureFactoryError,
            PersistenceError,
        ) as error:
            raise CommandError(one_line(error)) from error
        streams = {event.stream for event in events}
        self.stdout.write(
            f"Loaded {counted(len(events), 'event', 'events')} of "
            f"{counted(len(streams), 'stream', 'streams')}; "
            "what was there already is not there twice"
        )
