"""What commands on projections have in common: choosing and checking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.apps import apps
from django.core.checks import ERROR
from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from django_esdb.checks import check_all
from django_esdb.exceptions import NotRegisteredError
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from eventsourcing_eventstoredb.text import one_line

CONFIGURATION = 2
FAILED = 1


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
        raise CommandError(str(error), returncode=CONFIGURATION) from None


def require_valid_configuration() -> None:
    """Raise CommandError, in one line, for the first of the checks' errors."""
    for message in check_all():
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
            raise CommandError(msg, returncode=FAILED) from None
        unapplied = [
            f"{migration.app_label}.{migration.name}"
            for migration, _ in plan
            if migration.app_label in app_labels
        ]
        if unapplied:
            option = "" if alias == "default" else f" --database {alias}"
            msg = (
                f"Unapplied migrations in database {alias!r}: {', '.join(unapplied)}; "
                f"run manage.py migrate{option}"
            )
            raise CommandError(msg, returncode=CONFIGURATION)


def _needed_apps(registrations: Iterable[Registration]) -> dict[str, set[str]]:
    needed: dict[str, set[str]] = {}
    for registration in registrations:
        view_class = registration.view_class
        if not issubclass(view_class, DjangoTrackingRecorder):
            continue
        labels = needed.setdefault(view_class.database(), {"django_esdb"})
        labels.update(model._meta.app_label for model in view_class.read_models)
        for cls in (view_class, registration.projection_class):
            app_config = apps.get_containing_app_config(cls.__module__)
            if app_config is not None:
                labels.add(app_config.label)
    return needed
