"""
System checks: what can be known to be wrong without asking any server.

Commands run the same functions and report the first error in one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _
from eventsourcing.utils import Environment

from django_esdb.checks.databases import check_databases, check_read_models
from django_esdb.checks.event_metadata import check_event_metadata
from django_esdb.checks.payload_redaction import check_payload_redaction
from django_esdb.checks.topic_aliases import check_topic_aliases
from django_esdb.checks.topics import check_topics
from django_esdb.conf import (
    CONTENT_TYPE,
    KNOWN_SETTINGS,
    PERSISTENCE_MODULE,
    application_environment,
    build_env,
    settings,
)
from django_esdb.exceptions import ConfigurationError, ViewDatabaseError
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import registry
from django_esdb.topics import allowlist_of
from eventsourcing_eventstoredb import client_library
from eventsourcing_eventstoredb.connection_settings import (
    CertificateError,
    ConnectionSettings,
    ConnectionSettingsError,
    parse_connection,
)
from eventsourcing_eventstoredb.content_types import BINARY, JSON, parse_content_type

TAG = "django_esdb"

_LONGEST_BATCH_SECONDS = 60
_LONGEST_WEB_DEADLINE = 3600
# Below, an owner that is merely slow would lose its lease.
_SHORTEST_LEASE_SECONDS = 0.5
_LONGEST_LEASE_SECONDS = 3600
_LONGEST_EVENT_SECONDS = 86_400
_LONGEST_HEALTHY_SECONDS = 30 * 86_400

ADDRESS_MISSING = "django_esdb.E001"


def check_project(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """
    Return what ``manage.py check`` says, and so every command that checks first.

    An address that is missing is no more than a warning here: tables are made, static
    files are collected and images are built where there is no event store. What needs
    the address asks :func:`check_all`.
    """
    return [
        checks.Warning(message.msg, hint=message.hint, id="django_esdb.W013")
        if message.id == ADDRESS_MISSING
        else message
        for message in check_all(app_configs, **kwargs)
    ]


def check_all(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return everything that is wrong with settings and registrations."""
    env_messages = list(check_env()) or list(check_topic_allowlist())
    return [
        *env_messages,
        # An environment that cannot be made cannot be looked into.
        *(() if env_messages else check_connections()),
        *(() if env_messages else check_event_metadata(application_environments())),
        *(() if env_messages else check_topic_aliases(application_environments())),
        *check_payload_redaction(),
        *check_numbers(),
        *check_projections(),
        *check_topics(),
        *check_databases(),
        *check_read_models(),
        *check_setting_names(),
        *check_distributions(),
    ]


def check_env() -> Iterator[CheckMessage]:
    """ESDB_ENV must be a dictionary of strings."""
    env = settings.ESDB_ENV
    if not isinstance(env, dict) or not all(
        isinstance(item, str) for pair in env.items() for item in pair
    ):
        yield Error(
            _("ESDB_ENV must be a dictionary with strings as keys and values."),
            hint=_("It is passed on to the eventsourcing library as environment."),
            id="django_esdb.E004",
        )


def check_topic_allowlist() -> Iterator[CheckMessage]:
    """The allowlist must be one of modules and topics, wherever it is said."""
    try:
        for env in application_environments():
            allowlist_of(env)
    except ConfigurationError as error:
        yield Error(
            _("The allowlist of topics cannot be used: %(reason)s.")
            % {"reason": error},
            hint=(
                _(
                    'Its entries are like "school.domain" or "school.domain:Dog". '
                    "Leave it out to allow those of the project's own apps."
                )
            ),
            id="django_esdb.E010",
        )


def check_connections() -> Iterator[CheckMessage]:
    """Each application's event store must be named in a way that can be used."""
    messages = [
        _check_connection(env) or _check_client_library(env) or _check_content_type(env)
        for env in application_environments()
    ]
    # Applications that share a wrong setting would each report it.
    yield from {str(message): message for message in messages if message}.values()


def application_environments() -> list[Environment]:
    """
    Return what the applications of registered projections are made from.

    Raises:
        ConfigurationError: A setting that they are made from is malformed.
    """
    application_classes = {item.application_class for item in registry}
    return [
        application_environment(cls)
        for cls in sorted(application_classes, key=lambda cls: cls.name)
    ] or [Environment("", {**os.environ, **build_env()})]


def _check_connection(env: Environment) -> CheckMessage | None:
    if env.get("PERSISTENCE_MODULE") != PERSISTENCE_MODULE:
        return None
    uri = env.get("EVENTSTOREDB_URI")
    if not uri:
        return Error(
            _("The address of the event store is missing."),
            hint=(
                _(
                    "Set ESDB_URI, or the environment variable EVENTSTOREDB_URI, "
                    "for example to esdb://localhost:2113?Tls=false"
                )
            ),
            id=ADDRESS_MISSING,
        )
    try:
        parse_environment(uri, env)
    except CertificateError as error:
        return Error(
            _("The event store's certificate cannot be used: %(reason)s.")
            % {"reason": error},
            hint=_("ESDB_ROOT_CERTIFICATES takes the path of a PEM file or its text."),
            id="django_esdb.E003",
        )
    except ConnectionSettingsError as error:
        return Error(
            _("ESDB_URI cannot be used: %(reason)s.") % {"reason": error},
            id="django_esdb.E002",
        )
    return None


def _check_client_library(env: Environment) -> CheckMessage | None:
    if env.get("PERSISTENCE_MODULE") != PERSISTENCE_MODULE:
        return None
    try:
        client_library.choose(env.get(client_library.VARIABLE))
    except client_library.ClientLibraryError as error:
        return Error(
            _("EventStoreDB cannot be spoken to: %(reason)s.") % {"reason": error},
            hint=_("See docs/clients.md."),
            id="django_esdb.E016",
        )
    return None


def _check_content_type(env: Environment) -> CheckMessage | None:
    if env.get("PERSISTENCE_MODULE") != PERSISTENCE_MODULE:
        return None
    text = env.get(CONTENT_TYPE)
    try:
        parse_content_type(text)
    except ValueError:
        return Error(
            _("ESDB_CONTENT_TYPE is %(text)s, but must be %(json)s or %(binary)s.")
            % {"text": repr(text), "json": repr(JSON), "binary": repr(BINARY)},
            id="django_esdb.E018",
        )
    return None


def parse_environment(uri: str, env: Environment) -> ConnectionSettings:
    """
    Return how the event store at *uri* is connected to.

    Raises:
        ConnectionSettingsError: Something cannot be used.
    """
    return parse_connection(
        uri,
        username=env.get("EVENTSTOREDB_USERNAME"),
        password=env.get("EVENTSTOREDB_PASSWORD"),
        root_certificates=env.get("EVENTSTOREDB_ROOT_CERTIFICATES"),
        node_preference=env.get("EVENTSTOREDB_NODE_PREFERENCE"),
    )


def check_numbers() -> Iterator[CheckMessage]:
    """Numbers must be numbers, of a size that makes sense."""
    for name, least, code in (
        ("ESDB_BATCH_SIZE", 1, "django_esdb.E008"),
        ("ESDB_REPLAY_BATCH_SIZE", 1, "django_esdb.E033"),
        ("ESDB_RETRIES", 0, "django_esdb.E012"),
        ("ESDB_MAX_SKIPPED", 0, "django_esdb.E013"),
        ("ESDB_SNAPSHOT_MAX_COUNT", 1, "django_esdb.E019"),
    ):
        count: object = getattr(settings, name)
        if count is None and name == "ESDB_SNAPSHOT_MAX_COUNT":
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < least:
            yield Error(
                _(
                    "%(name)s is %(count)s, but must be a whole number from "
                    "%(least)s on."
                )
                % {"name": name, "count": repr(count), "least": least},
                id=code,
            )
    most: object = settings.ESDB_MAX_DECOMPRESSED
    if most is not None and (type(most) is not int or most < 1):
        yield Error(
            _(
                "ESDB_MAX_DECOMPRESSED is %(most)s, but must be a whole number of "
                "bytes from 1 on."
            )
            % {"most": repr(most)},
            id="django_esdb.E017",
        )
    for name, shortest, longest, code in (
        ("ESDB_BATCH_SECONDS", 0, _LONGEST_BATCH_SECONDS, "django_esdb.E009"),
        (
            "ESDB_LEASE_SECONDS",
            _SHORTEST_LEASE_SECONDS,
            _LONGEST_LEASE_SECONDS,
            "django_esdb.E011",
        ),
        ("ESDB_EVENT_SECONDS", 1, _LONGEST_EVENT_SECONDS, "django_esdb.E014"),
        ("ESDB_WEB_DEADLINE", 0.1, _LONGEST_WEB_DEADLINE, "django_esdb.E015"),
        ("ESDB_MAX_BEHIND", 0, _LONGEST_HEALTHY_SECONDS, "django_esdb.E023"),
        ("ESDB_MAX_IDLE", 1, _LONGEST_HEALTHY_SECONDS, "django_esdb.E024"),
    ):
        seconds: object = getattr(settings, name)
        if (
            not isinstance(seconds, int | float)
            or isinstance(seconds, bool)
            or not shortest <= seconds <= longest
        ):
            yield Error(
                _(
                    "%(name)s is %(seconds)s, but must be a number of seconds from "
                    "%(shortest)s to %(longest)s."
                )
                % {
                    "name": name,
                    "seconds": repr(seconds),
                    "shortest": shortest,
                    "longest": longest,
                },
                id=code,
            )


def check_projections() -> Iterator[CheckMessage]:
    """Names must be unique, and a view's rows in its own database."""
    if registry.discovery_error is not None:
        yield Error(
            _("Two projections have one name: %(reason)s.")
            % {"reason": registry.discovery_error},
            id="django_esdb.E005",
        )
    owners: dict[str, str] = {}
    for registration in registry:
        view_class = registration.view_class
        if not issubclass(view_class, DjangoTrackingRecorder):
            continue
        try:
            view_class.database()
        except ViewDatabaseError as error:
            yield Error(
                _("A view's database cannot be used: %(reason)s.") % {"reason": error},
                obj=view_class,
                id="django_esdb.E006",
            )
            continue
        for model in view_class.read_models:
            owner = owners.setdefault(model._meta.label, registration.name)
            if owner != registration.name:
                yield Error(
                    _(
                        "%(model)s is a read model of both %(owner)s and %(name)s, "
                        "whose positions differ."
                    )
                    % {
                        "model": model._meta.label,
                        "owner": owner,
                        "name": registration.name,
                    },
                    hint=_("Give each projection read models of its own."),
                    id="django_esdb.E007",
                )


def check_setting_names() -> Iterator[CheckMessage]:
    """A setting that is not read is likely misspelt."""
    for name in sorted(dir(django_settings)):
        if name.startswith("ESDB_") and name not in KNOWN_SETTINGS:
            yield checks.Warning(
                _("There is no setting %(name)s.") % {"name": name},
                hint=_("The settings are %(names)s.")
                % {"names": ", ".join(sorted(KNOWN_SETTINGS))},
                id="django_esdb.W002",
            )


def check_distributions() -> Iterator[CheckMessage]:
    """Another distribution has a package of the same name."""
    names = set(packages_distributions().get("eventsourcing_eventstoredb", ()))
    others = sorted(names - {"django-esdb"})
    if others:
        yield checks.Warning(
            _(
                "%(names)s also installs eventsourcing_eventstoredb, and whichever "
                "came last has overwritten the other's files."
            )
            % {"names": ", ".join(others)},
            hint=_("pip uninstall %(names)s, then reinstall django-esdb.")
            % {"names": " ".join(others)},
            id="django_esdb.W001",
        )
