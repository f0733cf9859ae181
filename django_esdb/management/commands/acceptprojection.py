from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_esdb.management.commands._projections import (
    choose,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.status.accepting import accept_definition


class Command(BaseCommand):
    help = (
        "Says that the rows of a projection are right though its definition has "
        "changed since they were begun, so that no rebuild is advised any more."
    )
    # They are run below, to report the first error in a line.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection.")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        require_valid_configuration()
        [registration] = choose([name])
        require_migrations([registration])
        if accept_definition(registration):
            self.stdout.write(f"{name}: the definition of today is accepted")
        else:
            self.stdout.write(f"{name}: its definition has not changed")
