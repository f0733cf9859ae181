"""Which event store an application has, for messages about one that is away."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import Error as DatabaseError
from eventsourcing.application import Application
from eventsourcing.persistence import PersistenceError
from eventsourcing.utils import Environment

from django_esdb.conf import (
    PERSISTENCE_MODULE,
    application_environment,
    settings,
)
from django_esdb.db.errors import is_transient
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.connection_settings import (
    ConnectionSettingsError,
    parse_connection,
)

_URI = "EVENTSTOREDB_URI"
_WHERE = "; the event store's address"
# What applications do with a recorder that asks the event store.
_CALLS = (
    "insert_events",
    "select_events",
    "select_notifications",
    "max_notification_id",
    "subscribe",
)


def is_of_store(error: BaseException) -> bool:
    """Return whether an error is an event store's, and not the database's."""
    return isinstance(error, PersistenceError) and not isinstance(
        error.__cause__, DatabaseError
    )


def store_hint(application_class: type[Application[Any]], error: BaseException) -> str:
    """
    Return what to know about an event store that cannot be used: which, and what to do.

    Args:
        application_class: Whose event store it is.
        error: What came of using it.

    Returns:
        A line that continues the error's, without secrets; empty if the error is
        not the event store's, or says it already, or the event store none that this
        is about.
    """
    if not is_of_store(error) or _WHERE in str(error):
        return ""
    is_away = is_transient(error)
    if not is_away and "certificate" not in str(error):
        return ""
    try:
        env = application_environment(application_class)
        if env.get("PERSISTENCE_MODULE", "") != PERSISTENCE_MODULE:
            return ""
        parsed = parse_connection(
            env.get(_URI, ""),
            username=env.get("EVENTSTOREDB_USERNAME"),
            password=env.get("EVENTSTOREDB_PASSWORD"),
            root_certificates=env.get("EVENTSTOREDB_ROOT_CERTIFICATES"),
        )
    except (ConfigurationError, ConnectionSettingsError):
        # A check's to report.
        return ""
    where = f"{_WHERE} is {parsed.address}, from {_source(env)}"
    if not is_away:
        return where
    tls = "" if parsed.tls else " If it speaks TLS, Tls=false is wrong."
    return (
        f"{where}. Is it running? manage.py runeventstore starts the embedded one.{tls}"
    )


def say_where_store_is(application: Application[Any]) -> None:
    """Have errors of an application whose event store is away end with its hint."""
    recorders = {
        id(recorder): recorder
        for recorder in (
            application.recorder,
            application.events.recorder,
            getattr(application.snapshots, "recorder", None),
        )
        if recorder is not None
    }
    for recorder in recorders.values():
        for name in _CALLS:
            call = getattr(recorder, name, None)
            if call is not None:
                setattr(recorder, name, _with_hint(type(application), call))


def _with_hint(
    application_class: type[Application[Any]], call: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(call)
    def with_hint(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except PersistenceError as error:
            hint = store_hint(application_class, error)
            if hint:
                error.args = (f"{error}{hint}",)
            raise

    return with_hint


def place_of(env: Environment, name: str, setting: str) -> str:
    """
    Return where a variable of an application's environment is set.

    Args:
        env: The application's environment.
        name: The variable, without the application's name before it.
        setting: The setting that says the same.

    Returns:
        The setting's name, the variable's, or such as ``ESDB_ENV['CIPHER_KEY']``.
    """
    for key in env.create_keys(name):
        if settings.ESDB_ENV.get(key):
            return f"ESDB_ENV[{key!r}]"
        if key == name and getattr(settings, setting):
            return setting
        if os.environ.get(key):
            return key
        if key in env:
            return f"{env.name}.env[{key!r}]"
    return setting


def _source(env: Environment) -> str:
    """Return the name of the setting or variable that the address comes from."""
    place = place_of(env, _URI, "ESDB_URI")
    if place == "ESDB_URI":
        return "the setting ESDB_URI"
    if place in os.environ:
        return f"the environment variable {place}"
    return place if place.startswith("ESDB_ENV") else "the application's env"
