from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from django_esdb import get_application
from eventsourcing_eventstoredb.text import one_line
from example_project.training_school.application import TrainingSchool
from example_project.training_school.seeding import seed


class Command(BaseCommand):
    help = (
        "Registers dogs and teaches them tricks, always the same ones. What is "
        "recorded already is not recorded again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dogs",
            type=_count,
            default=12,
            metavar="N",
            help="How many dogs there will be (default: %(default)s).",
        )
        parser.add_argument(
            "--tricks",
            type=_count,
            default=4,
            metavar="M",
            help="How many tricks each is to know (default: %(default)s).",
        )

    def handle(self, *args: Any, dogs: int, tricks: int, **options: Any) -> None:
        try:
            seeded = seed(get_application(TrainingSchool), dogs=dogs, tricks=tricks)
        except (PersistenceError, InfrastructureFactoryError) as error:
            raise CommandError(one_line(error)) from error
        self.stdout.write(
            f"Registered {seeded.dogs} dogs and taught {seeded.tricks} tricks; "
            f"{dogs - seeded.dogs} dogs and {dogs * tricks - seeded.tricks} tricks "
            "were there already"
        )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
