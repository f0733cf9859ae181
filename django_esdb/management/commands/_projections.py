"""What commands on projections have in common: choosing and checking."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.apps import apps
from django.core.checks import ERROR
from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import translation

from django_esdb.checks.configuration import check_all
from django_esdb.checks.topics import check_topics_of
from django_esdb.db.vendors import is_in_memory
from django_esdb.exceptions import NotRegisteredError
from django_esdb.failures.parking import failed_events
from django_esdb.management.base import CONFIGURATION, FAILED
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import DEFINITION_CHANGED
from django_esdb.status.rows import unregistered_rows
from django_esdb.status.status import is_definition_changed, shown
from eventsourcing_eventstoredb.text import counted, one_line


def choose(names: Sequence[str]) -> list[Registration]:
    """Return the projections of these names, all if there are none."""
    if not names:
        if not len(registry):
            msg = (
                "No projection is registered: write a projections.py in an installed "
                "app, with a projection decorated by register_projection"
            )
            raise CommandError(msg, returncode=CONFIGURATION)
        return list(registry)
    try:
        return [registry.get(name) for name in dict.fromkeys(names)]
    except NotRegisteredError as error:
        raise CommandError(str(error), returncode=CONFIGURATION) from error


def seconds(text: str) -> float:
    """Return an option's number of seconds; one that is none is a ValueError."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def positive(text: str) -> int:
    """Return an option's number from 1 on; another one is a ValueError."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


# What argparse calls the values in its messages.
seconds.__name__ = "number of seconds"
positive.__name__ = "number"


def topic_warnings(registrations: Iterable[Registration]) -> list[str]:
    """Return a line for each event or handler that projections leave out."""
    # As all that commands say, so that it can be looked up.
    with translation.override(None):
        return [
            str(message.msg)
            for registration in registrations
            for message in check_topics_of(registration)
        ]


def add_failed_event_arguments(parser: ArgumentParser, id_help: str) -> None:
    """Add what commands on failed events take: a projection, and one event's number."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="PROJECTION",
        help="The projection; all that are registered if there is none.",
    )
    parser.add_argument("--id", type=int, dest="pk", metavar="N", help=id_help)


def add_no_input_argument(parser: ArgumentParser) -> None:
    """Add the option that leaves out what :func:`is_confirmed` asks."""
    parser.add_argument(
        "--no-input",
        "--noinput",
        action="store_false",
        dest="interactive",
        help="Do not ask.",
    )


def is_confirmed(warning: str) -> bool:
    """Say what will be done, and return whether the user wants it; blocks."""
    try:
        return input(f"{warning} Type yes to continue: ").strip() == "yes"
    except (EOFError, RuntimeError):
        # There is no user, or no terminal to ask on.
        return False


def what_is_deleted(made: Counter[str]) -> str:
    """Return in words how many rows of which models there are; empty for none."""
    counts = [
        f"{counted(count, 'row', 'rows')} of {label}"
        for label, count in made.items()
        if count
    ]
    return " and ".join([", ".join(counts[:-1]), counts[-1]] if counts[1:] else counts)


def choose_failed(name: str | None, pk: int | None) -> list[Registration]:
    """
    Return the projections that such a command is about; their tables are there.

    Raises:
        CommandError: There is none, or a database cannot be used.
    """
    registrations = choose([] if name is None else [name])
    require_migrations(registrations)
    if name is not None or pk is None:
        return registrations
    # Numbers are those of a database, and projections may lie in several.
    with database_errors():
        found = [
            registration
            for registration in registrations
            if failed_events(registration.tracked()).filter(pk=pk).exists()
        ]
    if len(found) > 1:
        names = ", ".join(registration.name for registration in found)
        msg = f"There is a failed event {pk} of each of {names}; name one of them"
        raise CommandError(msg, returncode=CONFIGURATION)
    if not found:
        msg = f"There is no failed event {pk}"
        raise CommandError(msg, returncode=CONFIGURATION)
    return found


def require_valid_configuration() -> None:
    """Raise CommandError, in one line, for the first of the checks' errors."""
    with translation.override(None):
        messages = check_all()
    for message in messages:
        if message.level >= ERROR:
            text = f"{message.msg} {message.hint or ''} ({message.id})"
            raise CommandError(" ".join(text.split()), returncode=CONFIGURATION)


def require_migrations(registrations: Iterable[Registration]) -> None:
    """Raise CommandError if tables that the projections need are not there yet."""
    for alias, app_labels in _needed_apps(registrations).items():
        try:
            executor = MigrationExecutor(connections[alias])
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as error:
            msg = f"Cannot use database {alias!r}: {one_line(error)}"
            raise CommandError(msg, returncode=FAILED) from error
        unapplied = [
            f"{migration.app_label}.{migration.name}"
            for migration, _ in plan
            if migration.app_label in app_labels
        ]
        if unapplied and is_in_memory(connections[alias]):
            msg = (
                f"Database {alias!r} is SQLite in memory, where each process has one "
                "of its own, without tables and rows: use a file, PostgreSQL or MariaDB"
            )
            raise CommandError(msg, returncode=CONFIGURATION)
        if unapplied:
            option = "" if alias == "default" else f" --database {alias}"
            msg = (
                f"Unapplied migrations in database {alias!r}: {', '.join(unapplied)}; "
                f"run manage.py migrate{option}"
            )
            raise CommandError(msg, returncode=CONFIGURATION)


@contextmanager
def database_errors() -> Iterator[None]:
    """
    Say in a line why a database cannot be used.

    Raises:
        CommandError: The block has raised a database's error.
    """
    try:
        yield
    except DatabaseError as error:
        msg = f"Cannot use a database: {shown(str(error))}"
        raise CommandError(msg, returncode=FAILED) from error


def stale() -> list[str]:
    """
    Say, in a line for each, which projections' rows are not those of the code.

    Raises:
        CommandError: A database cannot be used.
    """
    with database_errors():
        return _stale()


def put_aside(registrations: Iterable[Registration]) -> dict[str, int]:
    """
    Return how many events projections have put aside; only of those that have some.

    Raises:
        CommandError: A database cannot be used.
    """
    with database_errors():
        counts = {
            registration.name: failed_events(registration.tracked()).count()
            for registration in registrations
        }
    return {name: count for name, count in counts.items() if count}


def _stale() -> list[str]:
    lines = [
        f"Projection {row.projection!r} of {row.application!r} is not registered, yet "
        f"has a position in database {row._state.db!r}: it was renamed, moved or "
        "removed, and its read models are not updated any more"
        for row in unregistered_rows()
    ]
    for registration in registry:
        if is_definition_changed(
            registration, registration.tracked().queryset().first()
        ):
            lines.append(f"Projection {registration.name!r}: {DEFINITION_CHANGED}")
    return lines


def _needed_apps(registrations: Iterable[Registration]) -> dict[str, set[str]]:
    needed: dict[str, set[str]] = {}
    for registration in registrations:
        view_class = registration.view_class
        labels = needed.setdefault(registration.tracked().using, {"django_esdb"})
        if not issubclass(view_class, DjangoTrackingRecorder):
            continue
        labels.update(model._meta.app_label for model in view_class.read_models)
        for cls in (view_class, registration.projection_class):
            app_config = apps.get_containing_app_config(cls.__module__)
            if app_config is not None:
                labels.add(app_config.label)
    return needed
