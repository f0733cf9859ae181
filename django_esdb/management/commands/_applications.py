"""Choosing applications by what a command was told."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from django_esdb.applications.store_address import store_hint
from django_esdb.exceptions import ConfigurationError
from django_esdb.management.base import CONFIGURATION, FAILED
from django_esdb.registry import registry
from django_esdb.topics.subscribed import class_of
from eventsourcing_eventstoredb.text import one_line, quoted


def add_application_argument(parser: ArgumentParser) -> None:
    """Add what :func:`choose_application` is told."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="APPLICATION",
        help=(
            "The name of an application that a projection is registered for, or "
            "where its class is: school.application:School. Not needed if "
            "projections are registered for one alone."
        ),
    )


@contextmanager
def store_errors(application_class: type[Application[Any]]) -> Iterator[None]:
    """
    Say in a line why an application's events cannot be used.

    Raises:
        CommandError: The block has raised an error of the store or of settings.
    """
    try:
        yield
    except (InfrastructureFactoryError, ConfigurationError) as error:
        raise CommandError(one_line(error), returncode=CONFIGURATION) from error
    except PersistenceError as error:
        text = one_line(error) + store_hint(application_class, error)
        raise CommandError(text, returncode=FAILED) from error


def choose_applications(names: Sequence[str]) -> list[type[Application[Any]]]:
    """
    Return the applications of these names, all that are known if there are none.

    Args:
        names: Of applications that projections are registered for, or where their
            classes are.

    Raises:
        CommandError: There is no such application.
    """
    known = registry.applications()
    if not names and not known:
        msg = "No projection is registered, so say where an application's class is"
        raise CommandError(msg, returncode=CONFIGURATION)
    return [
        known[name] if name in known else _class_at(name, known)
        for name in dict.fromkeys(names or sorted(known))
    ]


def choose_application(name: str | None) -> type[Application[Any]]:
    """
    Return the application of a name, or the only one that is known.

    Raises:
        CommandError: There is no such application, or there are several.
    """
    known = registry.applications()
    if name is None and len(known) > 1:
        listed = ", ".join(map(one_line, sorted(known)))
        msg = f"Projections are registered for several applications; name one: {listed}"
        raise CommandError(msg, returncode=CONFIGURATION)
    (application_class,) = choose_applications([] if name is None else [name])
    return application_class


def _class_at(
    name: str, known: Mapping[str, type[Application[Any]]]
) -> type[Application[Any]]:
    module, _, attribute = name.rpartition(".")
    found = class_of(name if ":" in name else f"{module}:{attribute}")
    if found is None or not issubclass(found, Application):
        listed = ", ".join(map(one_line, sorted(known))) or "none"
        msg = (
            f"There is no application {quoted(name)}; projections "
            f"are registered for: {listed}"
        )
        raise CommandError(msg, returncode=CONFIGURATION)
    return found
