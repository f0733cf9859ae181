"""
What an EventStoreDB connection string says, checked without opening anything.

This module loads no gRPC, so that configuration can be checked cheaply. No
message it makes repeats a user name, a password or a whole connection string, nor
anything else of one that is wrong, since a secret may stand anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from urllib.parse import parse_qsl, unquote, urlencode

from eventsourcing_eventstoredb.certificate_files import (
    USER_FILES,
    CertificateError,
    ConnectionSettingsError,
    read_certificate,
    read_pair,
)

__all__ = [
    "CertificateError",
    "ConnectionSettings",
    "ConnectionSettingsError",
    "parse_connection",
]

DEFAULT_PORT = 2113

# EventStoreDB was renamed KurrentDB; its documentation has all of these.
_SCHEMES = {
    "esdb": "esdb",
    "kurrentdb": "esdb",
    "kdb": "esdb",
    "esdb+discover": "esdb+discover",
    "kurrentdb+discover": "esdb+discover",
    "kdb+discover": "esdb+discover",
}
_FIELDS = {
    name.lower(): name
    for name in (
        "Tls",
        "ConnectionName",
        "MaxDiscoverAttempts",
        "DiscoveryInterval",
        "GossipTimeout",
        "NodePreference",
        "TlsVerifyCert",
        "DefaultDeadline",
        "KeepAliveInterval",
        "KeepAliveTimeout",
        "TlsCaFile",
        "UserCertFile",
        "UserKeyFile",
    )
}
_BOOLEAN_FIELDS = ("Tls", "TlsVerifyCert")
_INTEGER_FIELDS = (
    "MaxDiscoverAttempts",
    "DiscoveryInterval",
    "GossipTimeout",
    "DefaultDeadline",
    "KeepAliveInterval",
    "KeepAliveTimeout",
)
# What gRPC takes fits into 31 bits.
_INTEGER_DIGITS = 9
_PORT_DIGITS = 5
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
# It is sent as a header.
_NAME = re.compile("[ -~]*")
_NODE_PREFERENCES = ("leader", "follower", "random", "readonlyreplica")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_EXAMPLE = "esdb://localhost:2113?Tls=false"


@dataclass(frozen=True)
class ConnectionSettings:
    """
    Where an EventStoreDB server is and how to speak to it.

    Equal settings mean the same server and credentials, so they serve as the
    key of a shared client.

    Attributes:
        scheme: ``esdb`` or ``esdb+discover``.
        targets: ``host:port`` for each server named.
        username: Name sent with each call, decoded; without TLS only if
            ``sends_in_clear``.
        password: Password sent with each call, likewise.
        options: The query's fields, spelt as documented.
        root_certificates: PEM text, or None for the system's own.
        private_key: PEM text of the key of *certificate_chain*, or None.
        certificate_chain: PEM text of the user's certificate, or None.
        sends_in_clear: Whether the name and the password are sent without TLS,
            since the connection string, which turns it off, names a user.
    """

    scheme: str
    targets: tuple[str, ...]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()
    root_certificates: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    certificate_chain: str | None = field(default=None, repr=False)
    sends_in_clear: bool = False

    @cached_property
    def tls(self) -> bool:
        """Whether the connection is encrypted, which is the default."""
        return dict(self.options).get("Tls", "true").lower() == "true"

    @property
    def address(self) -> str:
        """The servers' addresses, for messages; without credentials."""
        return ",".join(self.targets)

    @property
    def client_uri(self) -> str:
        """
        A connection string that the client libraries parse as meant.

        It insists on credentials where TLS is on, but reads encoded ones
        wrongly; it gets a placeholder, and the real ones go another way.
        """
        credentials = "user:password@" if self.tls else ""
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme}://{credentials}{self.address}{query}"


def parse_connection(
    uri: str,
    *,
    username: str | None = None,
    password: str | None = None,
    root_certificates: str | None = None,
    node_preference: str | None = None,
) -> ConnectionSettings:
    """
    Read a connection string and what belongs to it.

    Args:
        uri: For example ``esdb://localhost:2113?Tls=false``. Several hosts are
            separated by commas; query fields are recognised in any case, and in
            words with underscores.
        username: Takes the place of the name in *uri*.
        password: Takes the place of the password in *uri*.
        root_certificates: PEM text, or the path of a file that has it. Looked
            at only where TLS is on.
        node_preference: Takes the place of the one in *uri*.

    Returns:
        The settings, with every value checked that can be without a server.

    Raises:
        ConnectionSettingsError: Something is missing or malformed. The message
            is one line and has no credentials in it.
    """
    scheme, separator, rest = uri.strip().partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ConnectionSettingsError(_scheme_problem(scheme, separator))
    authority, _, query = rest.partition("?")
    authority = authority.rstrip("/")
    credentials, _, hosts = authority.rpartition("@")
    if "/" in hosts or "#" in hosts or "@" in query:
        # Part of a password may stand where something else is expected, so
        # neither this message nor those below repeat what stands there.
        msg = (
            "the connection string has a '/', '?' or '#' where none may be; "
            "percent-encode such characters in a user name or password"
        )
        raise ConnectionSettingsError(msg)
    named, _, its_password = map(unquote, credentials.partition(":"))
    settings = ConnectionSettings(
        scheme=_SCHEMES[scheme.lower()],
        targets=_parse_targets(hosts),
        username=username or named,
        password=password or its_password,
        options=_parse_options(query, node_preference),
    )
    _check_credentials(settings)
    if settings.scheme == "esdb+discover" and len(settings.targets) > 1:
        msg = f"{scheme}:// takes one host, but {len(settings.targets)} are given"
        raise ConnectionSettingsError(msg)
    if settings.tls:
        return _with_tls(settings, root_certificates)
    return _without_tls(settings) if named else settings


def _check_credentials(settings: ConnectionSettings) -> None:
    try:
        f"{settings.username}{settings.password}".encode()
    except UnicodeError:
        msg = "the user name or the password has a character that cannot be sent"
        raise ConnectionSettingsError(msg) from None
    if ":" in settings.username:
        # What is sent has one between the name and the password.
        msg = "the user name has a ':', which none can have"
        raise ConnectionSettingsError(msg)


def _without_tls(settings: ConnectionSettings) -> ConnectionSettings:
    """Have the credentials sent in clear, as by an address with a user."""
    if not settings.password:
        msg = (
            "the connection string names a user, but there is no password: give one, "
            "or remove the user, since without TLS there need be none"
        )
        raise ConnectionSettingsError(msg)
    return replace(settings, sends_in_clear=True)


def _with_tls(
    settings: ConnectionSettings, root_certificates: str | None
) -> ConnectionSettings:
    options = dict(settings.options)
    user_files = [(name, options.pop(name)) for name in USER_FILES if options.get(name)]
    if len(user_files) == 1:
        # gRPC would abort the whole process.
        msg = (
            f"the connection string has {user_files[0][0]} alone, but "
            "UserCertFile and UserKeyFile need each other"
        )
        raise CertificateError(msg)
    has_user = settings.username and settings.password
    if not has_user and (settings.username or settings.password or not user_files):
        msg = (
            "TLS is on and needs a user name and a password, or a user's certificate: "
            "write esdb://NAME:PASSWORD@HOST, or add Tls=false for an insecure server"
        )
        raise ConnectionSettingsError(msg)
    certificate_chain, private_key = read_pair(user_files)
    ca_file = options.pop("TlsCaFile", "")
    if root_certificates:
        root_certificates = read_certificate(
            root_certificates, name="root certificates"
        )
    elif ca_file:
        root_certificates = read_certificate(ca_file, name="TlsCaFile", is_shown=False)
    return replace(
        settings,
        options=tuple(sorted(options.items())),
        root_certificates=root_certificates or None,
        private_key=private_key,
        certificate_chain=certificate_chain,
    )


def _scheme_problem(scheme: str, separator: str) -> str:
    # What stands before «://» may be anything, also a password.
    if not separator or not _SCHEME.fullmatch(scheme):
        return f"the connection string has no scheme; it should look like {_EXAMPLE}"
    return (
        f"the connection string has an unknown scheme{_meant(scheme, _SCHEMES)}; "
        f"it must be one of {', '.join(_SCHEMES)}, for example {_EXAMPLE}"
    )


def _meant(written: str, known: Iterable[str]) -> str:
    """Say which of the known names was meant, without what was written."""
    names = {name.lower(): name for name in known}
    found = get_close_matches(written.lower(), names, n=1)
    return f" (did you mean {names[found[0]]}?)" if found else ""


def _parse_targets(hosts: str) -> tuple[str, ...]:
    targets = []
    for target in filter(None, (part.strip() for part in hosts.split(","))):
        host, separator, port = target.rpartition(":")
        if not separator or target.endswith("]"):
            host, port = target, str(DEFAULT_PORT)
        if not host or not port.isascii() or not port.isdigit():
            msg = "the connection string has no number where a port should be"
            raise ConnectionSettingsError(msg)
        if not _HOST.fullmatch(host):
            msg = (
                "the connection string has a host that can be none: a name has "
                "letters, digits, '.', '-' and '_', and an IPv6 address is in brackets"
            )
            raise ConnectionSettingsError(msg)
        port = port.lstrip("0") or "0"
        # Its length first: Python converts only so many digits.
        if len(port) > _PORT_DIGITS or not 0 < int(port) < 65536:
            msg = "the connection string has a port outside 1 to 65535"
            raise ConnectionSettingsError(msg)
        targets.append(f"{host}:{port}")
    if not targets:
        msg = f"the connection string names no host; it should look like {_EXAMPLE}"
        raise ConnectionSettingsError(msg)
    return tuple(targets)


def _parse_options(
    query: str, node_preference: str | None = None
) -> tuple[tuple[str, str], ...]:
    options = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        name = _FIELDS.get(key.replace("_", "").lower())
        if name is None:
            # Neither the name nor the value: part of a password may stand there.
            msg = (
                "the connection string has an unknown field"
                f"{_meant(key, _FIELDS.values())}; "
                f"known are {', '.join(_FIELDS.values())}"
            )
            raise ConnectionSettingsError(msg)
        options[name] = value
    if node_preference:
        options["NodePreference"] = node_preference
        if node_preference.lower() == "leader":
            # The default, so that clients are shared with those who say nothing.
            del options["NodePreference"]
    _check_options(options)
    return tuple(sorted(options.items()))


def _check_options(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        problem = ""
        if name in _BOOLEAN_FIELDS and value.lower() not in ("true", "false"):
            problem = "must be true or false"
        elif name in _INTEGER_FIELDS and not (value.isascii() and value.isdigit()):
            problem = "must be a whole number"
        elif name in _INTEGER_FIELDS and len(value) > _INTEGER_DIGITS:
            problem = f"must have at most {_INTEGER_DIGITS} digits"
        elif name == "ConnectionName" and not _NAME.fullmatch(value):
            problem = "must consist of printable ASCII characters"
        elif name == "MaxDiscoverAttempts" and int(value) == 0:
            problem = "must be at least 1"
        elif name == "NodePreference" and value.lower() not in _NODE_PREFERENCES:
            problem = f"must be one of {', '.join(_NODE_PREFERENCES)}"
        if problem:
            msg = f"the connection string has a {name} that {problem}"
            raise ConnectionSettingsError(msg)
