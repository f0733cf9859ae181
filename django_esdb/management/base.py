"""The base of commands: what their help and their errors have in common."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_esdb.runner import garbage
from django_esdb.tracebacks import masked_traceback
from eventsourcing_eventstoredb.text import one_line

CONFIGURATION = 2
FAILED = 1
LEASE = 3


class SafeCommand(BaseCommand):
    """
    A command whose tracebacks have no secrets, and whose help has its exit statuses.

    Attributes:
        exit_statuses: What each status means, in the order of the help; the
            documentation's table has the same.
        is_from_shell: Whether the process is the command's own.
    """

    exit_statuses: ClassVar[Mapping[str, str]] = {}
    is_from_shell = False
    # Those that concern a command it runs itself, to report the first error in a line.
    requires_system_checks: Any = ()

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        listed = ", ".join(f"{key} {text}" for key, text in self.exit_statuses.items())
        kwargs.setdefault("epilog", f"Exit status: {listed}.")
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        say = parser.error
        # It repeats what was given, which may be long and have whatever in it.
        parser.error = lambda message: say(one_line(message))  # type: ignore[method-assign]
        return parser

    def expect_many_objects(self) -> None:
        """
        Have the garbage collector look less often; for commands that process events.

        Of another program's process nothing is known, so there it does nothing.
        """
        if self.is_from_shell:
            garbage.expect_many_objects()

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as from a shell; an error's traceback is printed without secrets."""
        self.is_from_shell = True
        try:
            super().run_from_argv(argv)
        except Exception as error:
            # A command's own error comes here with --traceback alone.
            self.stderr.write(masked_traceback(error), self.style.ERROR)
            is_known = isinstance(error, CommandError)
            sys.exit(error.returncode if is_known else FAILED)  # type: ignore[attr-defined]
