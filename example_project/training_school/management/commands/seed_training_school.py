from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from django_esdb import get_application
from django_esdb.management.base import SafeCommand
from eventsourcing_eventstoredb.text import counted, one_line
from example_project.training_school.application import TrainingSchool
from example_project.training_school.seeding import seed


class Command(SafeCommand):
    help = (
        "Registers dogs and teaches them tricks, always the same ones. What is "
        "recorded already is not recorded again."
    )
    exit_statuses = {
        "0": "registered, or there already",
        "1": "the event store cannot be used; maybe a part was registered",
        "2": "an option is wrong",
    }
    requires_system_checks = "__all__"

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
        there_dogs, there_tricks = dogs - seeded.dogs, dogs * tricks - seeded.tricks
        verb = "was" if there_dogs + there_tricks == 1 else "were"
        self.stdout.write(
            f"Registered {_dogs(seeded.dogs)} and taught {_tricks(seeded.tricks)}; "
            f"{_dogs(there_dogs)} and {_tricks(there_tricks)} {verb} there already"
        )


def _dogs(number: int) -> str:
    return counted(number, "dog", "dogs")


def _tricks(number: int) -> str:
    return counted(number, "trick", "tricks")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
