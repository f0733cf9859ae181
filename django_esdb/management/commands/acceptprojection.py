from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django_esdb.management.base import SafeCommand
from django_esdb.management.commands._projections import (
    choose,
    database_errors,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.status.accepting import accept_definition


class Command(SafeCommand):
    help = (
        "Says that the rows of a projection are right though its definition has "
        "changed since they were begun, so that no rebuild is advised any more."
    )
    exit_statuses = {
        "0": "accepted, or it has not changed",
        "1": "a database cannot be used",
        "2": "there is no such projection, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection.")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        require_valid_configuration()
        [registration] = choose([name])
        require_migrations([registration])
        with database_errors():
            accepted = accept_definition(registration)
        if accepted:
            self.stdout.write(f"{name}: the definition of today is accepted")
        else:
            self.stdout.write(f"{name}: its definition has not changed")
