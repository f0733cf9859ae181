"""Whether applications can be made as they are configured, with their event stores."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _
from eventsourcing.utils import Environment

from django_esdb.applications.store_address import place_of
from django_esdb.conf import (
    CONTENT_TYPE,
    PERSISTENCE_MODULE,
    application_environment,
    build_env,
)
from django_esdb.exceptions import ConfigurationError
from django_esdb.masking import shown_value, without_credentials
from django_esdb.registry import registry
from django_esdb.topics.allowlist import allowlist_of
from eventsourcing_eventstoredb import client_library
from eventsourcing_eventstoredb.connection_settings import (
    CertificateError,
    ConnectionSettings,
    ConnectionSettingsError,
    parse_connection,
)
from eventsourcing_eventstoredb.encoding.content_types import (
    BINARY,
    JSON,
    parse_content_type,
)

ADDRESS_MISSING = "django_esdb.E001"

_CREDENTIALS = {
    "EVENTSTOREDB_USERNAME": "ESDB_USERNAME",
    "EVENTSTOREDB_PASSWORD": "ESDB_PASSWORD",
}


def check_topic_allowlist() -> Iterator[CheckMessage]:
    """The allowlist must be one of modules and topics, wherever it is said."""
    try:
        for env in application_environments():
            allowlist_of(env)
    except ConfigurationError as error:
        yield Error(
            _("The allowlist of topics cannot be used: %(reason)s.")
            % {"reason": without_credentials(str(error))},
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
            % {"reason": without_credentials(str(error))},
            hint=_("ESDB_ROOT_CERTIFICATES takes the path of a PEM file or its text."),
            id="django_esdb.E003",
        )
    except ConnectionSettingsError as error:
        return Error(
            _("%(name)s cannot be used: %(reason)s.")
            % {"name": _blamed(uri, env), "reason": error},
            id="django_esdb.E002",
        )
    return None


def _blamed(uri: str, env: Environment) -> str:
    """Return what is to be corrected, of what makes a connection, and where it is."""
    address = place_of(env, "EVENTSTOREDB_URI", "ESDB_URI")
    try:
        parse_connection(
            uri,
            username="user",
            password="password",  # noqa: S106  (no secret, but one that can be sent)
            root_certificates=env.get("EVENTSTOREDB_ROOT_CERTIFICATES"),
            node_preference=env.get("EVENTSTOREDB_NODE_PREFERENCE"),
        )
    except ConnectionSettingsError:
        return address
    names = [
        place_of(env, name, setting)
        for name, setting in _CREDENTIALS.items()
        if env.get(name)
    ]
    if len(names) == len(_CREDENTIALS):
        return _("%(name)s or %(other)s") % {"name": names[0], "other": names[1]}
    return names[0] if names else address


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
            % {"text": shown_value(text), "json": repr(JSON), "binary": repr(BINARY)},
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
