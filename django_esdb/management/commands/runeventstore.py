from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import CommandError

from django_esdb.management.base import SafeCommand
from eventsourcing_eventstoredb.server import DataFileError, ServerError, cli
from eventsourcing_eventstoredb.text import one_line


class Command(SafeCommand):
    help = (
        "Runs the embedded event store, which speaks EventStoreDB's protocol, for "
        "development and tests, until stopped by SIGTERM, SIGINT or SIGHUP. "
        "Production runs EventStoreDB."
    )
    exit_statuses = cli.EXIT_STATUSES

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            server = cli.server_from(Namespace(**options))
            cli.serve_until_stopped(server, self._say)
        except (DataFileError, ServerError) as error:
            raise CommandError(one_line(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
