"""
What ``manage.py check --deploy`` warns about; no server is asked.

What cannot work is an error and reported by the other checks. These are things
that work, but not as they seem to, or not well enough for production.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from eventsourcing.utils import Environment

from django_esdb.checks.compression import check_compressor
from django_esdb.checks.configuration import check_all, check_env
from django_esdb.checks.connections import (
    ADDRESS_MISSING,
    application_environments,
    parse_environment,
)
from django_esdb.conf import (
    EVENT_BASES,
    PERSISTENCE_MODULE,
    TOPIC_ALLOWLIST,
    own_apps,
    settings,
)
from django_esdb.debug import SafeExceptionReporterFilter
from django_esdb.exceptions import ConfigurationError
from django_esdb.masking import has_password, without_credentials
from eventsourcing_eventstoredb.connection_settings import (
    ConnectionSettings,
    ConnectionSettingsError,
)
from eventsourcing_eventstoredb.text import quoted
from eventsourcing_eventstoredb.topics.allowlist import REGISTERED, split_entries

_FILTER = "django_esdb.debug.SafeExceptionReporterFilter"
_DEFAULT_PASSWORD = "changeit"  # noqa: S105  (EventStoreDB's own, known to all)
_ONLY_FOR_SEVERAL = (
    "DiscoveryInterval",
    "GossipTimeout",
    "MaxDiscoverAttempts",
    "NodePreference",
)
_ONLY_WITH_TLS = ("TlsCaFile", "UserCertFile", "UserKeyFile")
_LONGEST_DEADLINE_SECONDS = 300
_SHORTEST_KEEP_ALIVE_MS = 1000


def check_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what should not be so in production."""
    messages = [*_check_password_in_settings(), *_check_topics()]
    # Elsewhere it is a warning, since not everything needs the address.
    messages += [each for each in check_all() if each.id == ADDRESS_MISSING]
    for env in _environments():
        messages += check_compressor(env)
        connection = _connection(env)
        if connection is not None:
            messages += _check_connection(connection, env)
    # Applications that share a connection would each report it.
    return list({str(message): message for message in messages}.values())


def _environments() -> list[Environment]:
    try:
        return [] if list(check_env()) else application_environments()
    except ConfigurationError:
        # An error, which the other checks report.
        return []


def _connection(env: Environment) -> ConnectionSettings | None:
    uri = env.get("EVENTSTOREDB_URI")
    if not uri or env.get("PERSISTENCE_MODULE") != PERSISTENCE_MODULE:
        return None
    try:
        return parse_environment(uri, env)
    except ConnectionSettingsError:
        return None


def _check_connection(
    connection: ConnectionSettings, env: Environment
) -> Iterator[CheckMessage]:
    if connection.tls:
        yield from _check_verification(connection)
        yield from _check_default_password(connection)
    else:
        yield _tls_is_off(connection)
        yield from _check_unused_without_tls(connection, env)
    yield from _check_single_host(connection)
    yield from _check_times(connection)


def _tls_is_off(connection: ConnectionSettings) -> CheckMessage:
    if all(map(_is_loopback, connection.targets)):
        return Warning(
            _(
                "The event store is %(address)s without TLS, as the embedded "
                "server is reached, which is for development and tests."
            )
            % {"address": connection.address},
            hint=(
                _(
                    "For production, run EventStoreDB. If this is the near end of "
                    "an encrypted tunnel to it, silence this check."
                )
            ),
            id="django_esdb.W004",
        )
    return Warning(
        _(
            "TLS is off for %(address)s: events can be read and changed on the "
            "way, and every client that reaches the server can write some."
        )
        % {"address": connection.address},
        hint=(
            _(
                "Give the server certificates and users, remove Tls=false, and set "
                "ESDB_USERNAME and ESDB_PASSWORD."
            )
        ),
        id="django_esdb.W003",
    )


def _is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_password_in_settings() -> Iterator[CheckMessage]:
    addresses: dict[str, object] = {"ESDB_URI": settings.ESDB_URI}
    if not list(check_env()):
        addresses |= {
            f"ESDB_ENV[{key!r}]": value
            for key, value in settings.ESDB_ENV.items()
            if key.endswith("EVENTSTOREDB_URI")
        }
    for name, uri in addresses.items():
        if isinstance(uri, str) and has_password(uri) and not _hides_passwords():
            yield Warning(
                _(
                    "%(name)s has a password in it, which Django's error pages and "
                    "mails show."
                )
                % {"name": name},
                hint=(
                    _(
                        "Give it as ESDB_PASSWORD, or set "
                        'DEFAULT_EXCEPTION_REPORTER_FILTER = "%(name)s"'
                    )
                    % {"name": _FILTER}
                ),
                id="django_esdb.W005",
            )


def _hides_passwords() -> bool:
    try:
        chosen = import_string(django_settings.DEFAULT_EXCEPTION_REPORTER_FILTER)
    except ImportError:
        return False
    return isinstance(chosen, type) and issubclass(chosen, SafeExceptionReporterFilter)


def _check_topics() -> Iterator[CheckMessage]:
    own = (*own_apps(), REGISTERED)
    wider: dict[str, None] = {}
    for env in _environments():
        text = env.get(TOPIC_ALLOWLIST) or ""
        wider |= dict.fromkeys(
            entry
            for entry in split_entries(text)
            if entry not in own and not entry.startswith(_beginnings(own))
        )
        bases = split_entries(env.get(EVENT_BASES) or "")
        wider |= dict.fromkeys(
            _("subclasses of %(name)s") % {"name": base} for base in bases
        )
    if wider:
        yield Warning(
            _(
                "Stored events may become objects of more than the project's own "
                "apps: %(names)s."
            )
            % {"names": without_credentials(", ".join(map(quoted, wider)))},
            hint=(
                _(
                    "Name no more than the modules of events and aggregates in "
                    "ESDB_TOPIC_ALLOWLIST, and silence this check if that is so."
                )
            ),
            id="django_esdb.W011",
        )


def _beginnings(entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{entry}{mark}" for entry in entries for mark in ".:")


def _check_verification(connection: ConnectionSettings) -> Iterator[CheckMessage]:
    if dict(connection.options).get("TlsVerifyCert", "").lower() == "false":
        yield Warning(
            _(
                "TlsVerifyCert=false in the connection string has no effect: the "
                "server's certificate is always verified."
            ),
            hint=_(
                "Remove it, and set ESDB_ROOT_CERTIFICATES if the authority is own."
            ),
            id="django_esdb.W006",
        )


def _check_unused_without_tls(
    connection: ConnectionSettings, env: Environment
) -> Iterator[CheckMessage]:
    unused = [name for name in _ONLY_WITH_TLS if name in dict(connection.options)]
    if env.get("EVENTSTOREDB_ROOT_CERTIFICATES"):
        unused.insert(0, _("the root certificates"))
    if connection.sends_in_clear:
        yield Warning(
            _(
                "TLS is off for %(address)s, and the connection string names a user: "
                "the name and the password are sent with each call in clear, so that "
                "everyone on the way can read them."
            )
            % {"address": connection.address},
            hint=_(
                "Remove Tls=false if the server speaks TLS. If it asks for a password "
                "without TLS, reach it through an encrypted network only, and silence "
                "this check. If it does not ask, remove the user."
            ),
            id="django_esdb.W007",
        )
    elif connection.username or connection.password:
        unused.insert(0, _("the user name and password"))
    if unused:
        yield Warning(
            _("TLS is off for %(address)s, so these are not used: %(names)s.")
            % {"address": connection.address, "names": ", ".join(unused)},
            hint=_("Remove Tls=false if the server speaks TLS, else remove them."),
            id="django_esdb.W007",
        )


def _check_single_host(connection: ConnectionSettings) -> Iterator[CheckMessage]:
    if connection.scheme != "esdb" or len(connection.targets) > 1:
        return
    unused = [name for name in _ONLY_FOR_SEVERAL if name in dict(connection.options)]
    if unused:
        yield Warning(
            _(
                "%(address)s is the only host in the connection string, and no "
                "other is looked for, so these have no effect: %(names)s."
            )
            % {"address": connection.address, "names": ", ".join(unused)},
            hint=_("Name several members of the cluster, or use esdb+discover://."),
            id="django_esdb.W008",
        )


def _check_times(connection: ConnectionSettings) -> Iterator[CheckMessage]:
    options = dict(connection.options)
    deadline = options.get("DefaultDeadline")
    wrong = []
    if deadline is not None and not 0 < int(deadline) <= _LONGEST_DEADLINE_SECONDS:
        given = f"DefaultDeadline={int(deadline)}"
        wrong.append(_("%(name)s is in seconds") % {"name": given})
    wrong += [
        _("%(name)s is in milliseconds") % {"name": f"{name}={int(options[name])}"}
        for name in ("KeepAliveInterval", "KeepAliveTimeout")
        if name in options and int(options[name]) < _SHORTEST_KEEP_ALIVE_MS
    ]
    if wrong:
        yield Warning(
            _(
                "A time in the connection string may be meant in another unit: "
                "%(names)s."
            )
            % {"names": ", ".join(wrong)},
            hint=(
                _(
                    "Deadlines are from 1 to %(seconds)s "
                    "seconds, and keep-alive times are %(milliseconds)s "
                    "milliseconds or more."
                )
                % {
                    "seconds": _LONGEST_DEADLINE_SECONDS,
                    "milliseconds": _SHORTEST_KEEP_ALIVE_MS,
                }
            ),
            id="django_esdb.W009",
        )


def _check_default_password(connection: ConnectionSettings) -> Iterator[CheckMessage]:
    if connection.password == _DEFAULT_PASSWORD:
        yield Warning(
            _(
                "The event store's password is the one that EventStoreDB is "
                "installed with, which is public."
            ),
            hint=_("Change it in EventStoreDB, and set ESDB_PASSWORD."),
            id="django_esdb.W010",
        )
