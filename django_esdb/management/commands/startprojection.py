from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_esdb.exceptions import ConfigurationError
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.scaffolding.files import write_files
from django_esdb.scaffolding.plan import plan_projection
from django_esdb.scaffolding.rendering import rendered


class Command(SafeCommand):
    help = (
        "Writes a projection of an aggregate's events, with its view, model, admin "
        "and test. What has code in it is left alone."
    )
    exit_statuses = {
        "0": "written, or shown",
        "1": "there is a file that has code in it, or one cannot be written",
        "2": "the name, the aggregate, the app or the application cannot be used",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection, as a class.")
        parser.add_argument(
            "--aggregate",
            required=True,
            metavar="TOPIC",
            help="Whose events it processes, such as school.domain:Dog.",
        )
        parser.add_argument(
            "--app",
            metavar="LABEL",
            help="The installed app to write into; by default the aggregate's.",
        )
        parser.add_argument(
            "--application",
            metavar="TOPIC",
            help="Who records the events, such as school.domain:School; by default "
            "the only application next to the aggregate.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Show the files, and write none."
        )

    def handle(
        self,
        *args: Any,
        name: str,
        aggregate: str,
        app: str | None,
        application: str | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        try:
            plan = plan_projection(name, aggregate, app=app, application=application)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error
        files = rendered(plan)
        if dry_run:
            for path, text in files.items():
                self.stdout.write(f"# {os.path.relpath(path)}\n{text}")
            return
        try:
            write_files(files)
        except FileExistsError as error:
            msg = (
                f"nothing was written: {error}; take an app of its own, by startapp "
                "and --app, or add by hand what --dry-run shows"
            )
            raise CommandError(msg, returncode=FAILED) from error
        except OSError as error:
            msg = f"nothing was written: {error}"
            raise CommandError(msg, returncode=FAILED) from error
        for path in files:
            self.stdout.write(f"wrote {os.path.relpath(path)}")
        label = plan.app_label
        self.stdout.write(
            f"Now run: manage.py makemigrations {label}, migrate and test {label}"
        )
