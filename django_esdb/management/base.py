"""The base of commands: what their help and their errors have in common."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_esdb.runner import garbage
from django_esdb.tracebacks import masked_traceback
from eventsourcing_eventstoredb.text import one_line

CONFIGURATION = 2
FAILED = 1
LEASE = 3

# Of an output whose disk is full, or broken.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _write_nowhere() -> None:
    """Have Python not complain, at its end, of what it has yet to write."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _is_output_full(error: OSError) -> bool:
    # Of a file that is opened, such as one that a command makes, it has the name.
    return error.errno in _FULL and error.filename is None


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

    def __init__(self, stdout: Any = None, *args: Any, **kwargs: Any) -> None:
        if stdout is None and sys.stdout is None:
            # A process may be started without one.
            stdout = open(os.devnull, "w")  # noqa: SIM115
        super().__init__(stdout, *args, **kwargs)

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
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Stored text may have what the terminal's encoding has not. A file whose
            # descriptor has become a pipe's says that it cannot seek, and does so.
            with suppress(OSError):
                sys.stdout.reconfigure(errors="backslashreplace")
        try:
            try:
                super().run_from_argv(argv)
            finally:
                # Now rather than when Python ends, where nothing can be said of it.
                self.stdout.flush()
        except BrokenPipeError:
            # As with «| head».
            _write_nowhere()
            self.stderr.write("The output is not read any more", self.style.ERROR)
            sys.exit(FAILED)
        except Exception as error:
            if isinstance(error, OSError) and _is_output_full(error):
                _write_nowhere()
                said = f"The output cannot be written: {error.strerror}"
                self.stderr.write(said, self.style.ERROR)
                sys.exit(FAILED)
            # A command's own error comes here with --traceback alone.
            self.stderr.write(masked_traceback(error), self.style.ERROR)
            is_known = isinstance(error, CommandError)
            sys.exit(error.returncode if is_known else FAILED)  # type: ignore[attr-defined]
