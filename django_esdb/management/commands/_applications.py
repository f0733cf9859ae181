"""Choosing applications by what a command was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError
from eventsourcing.application import Application

from django_esdb.management.base import CONFIGURATION
from django_esdb.registry import registry
from django_esdb.subscribed_topics import class_of
from eventsourcing_eventstoredb.text import LONGEST_NAME, one_line


def choose_applications(names: Sequence[str]) -> list[type[Application[Any]]]:
    """
    Return the applications of these names, all that are known if there are none.

    Args:
        names: Of applications that projections are registered for, or where their
            classes are.

    Raises:
        CommandError: There is no such application.
    """
    known = _known()
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
    known = _known()
    if name is None and len(known) > 1:
        listed = ", ".join(map(one_line, sorted(known)))
        msg = f"Projections are registered for several applications; name one: {listed}"
        raise CommandError(msg, returncode=CONFIGURATION)
    (application_class,) = choose_applications([] if name is None else [name])
    return application_class


def _known() -> dict[str, type[Application[Any]]]:
    return {each.application_name: each.application_class for each in registry}


def _class_at(
    name: str, known: Mapping[str, type[Application[Any]]]
) -> type[Application[Any]]:
    module, _, attribute = name.rpartition(".")
    found = class_of(name if ":" in name else f"{module}:{attribute}")
    if found is None or not issubclass(found, Application):
        listed = ", ".join(map(one_line, sorted(known))) or "none"
        msg = (
            f"There is no application {one_line(name, LONGEST_NAME)!r}; projections "
            f"are registered for: {listed}"
        )
        raise CommandError(msg, returncode=CONFIGURATION)
    return found
