"""
What an EventStoreDB connection string says, checked without opening anything.

This module loads no gRPC, so that configuration can be checked cheaply. No
message it makes repeats a user name, a password or a whole connection string, nor
anything else of one that is wrong, since a secret may stand anywhere in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from urllib.parse import parse_qsl, unquote, urlencode

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
_NODE_PREFERENCES = ("leader", "follower", "random", "readonlyreplica")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_EXAMPLE = "esdb://localhost:2113?Tls=false"


class ConnectionSettingsError(ValueError):
    """A connection string or certificate setting that cannot be used."""


class CertificateError(ConnectionSettingsError):
    """A certificate or key that cannot be read."""


@dataclass(frozen=True)
class ConnectionSettings:
    """
    Where an EventStoreDB server is and how to speak to it.

    Equal settings mean the same server and credentials, so they serve as the
    key of a shared client.

    Attributes:
        scheme: ``esdb`` or ``esdb+discover``.
        targets: ``host:port`` for each server named.
        username: Name sent with each call when TLS is on, decoded.
        password: Password sent with each call when TLS is on, decoded.
        options: The query's fields, spelt as documented.
        root_certificates: PEM text, or None for the system's own.
    """

    scheme: str
    targets: tuple[str, ...]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()
    root_certificates: str | None = field(default=None, repr=False)

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
            separated by commas; query fields are recognised in any case.
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
    settings = ConnectionSettings(
        scheme=_SCHEMES[scheme.lower()],
        targets=_parse_targets(hosts),
        username=username or unquote(credentials.partition(":")[0]),
        password=password or unquote(credentials.partition(":")[2]),
        options=_parse_options(query, node_preference),
    )
    if settings.scheme == "esdb+discover" and len(settings.targets) > 1:
        msg = f"{scheme}:// takes one host, but {len(settings.targets)} are given"
        raise ConnectionSettingsError(msg)
    if not settings.tls:
        return settings
    return _with_tls(settings, root_certificates)


def _with_tls(
    settings: ConnectionSettings, root_certificates: str | None
) -> ConnectionSettings:
    if not settings.username or not settings.password:
        msg = (
            "TLS is on and needs a user name and a password: write "
            "esdb://NAME:PASSWORD@HOST, or add Tls=false for an insecure server"
        )
        raise ConnectionSettingsError(msg)
    options = dict(settings.options)
    user_files = [name for name in ("UserCertFile", "UserKeyFile") if name in options]
    if len(user_files) == 1:
        # gRPC would abort the whole process.
        msg = (
            f"the connection string has {user_files[0]} alone, but "
            "UserCertFile and UserKeyFile need each other"
        )
        raise CertificateError(msg)
    for name in user_files:
        read_certificate(options[name], name=name, is_shown=False)
    ca_file = options.pop("TlsCaFile", "")
    if root_certificates:
        root_certificates = read_certificate(
            root_certificates, name="root certificates"
        )
    elif ca_file:
        root_certificates = read_certificate(ca_file, name="TlsCaFile", is_shown=False)
    return ConnectionSettings(
        scheme=settings.scheme,
        targets=settings.targets,
        username=settings.username,
        password=settings.password,
        options=tuple(sorted(options.items())),
        root_certificates=root_certificates or None,
    )


def read_certificate(value: str, *, name: str, is_shown: bool = True) -> str:
    """
    Return the PEM text that *value* is or that lies in the file it names.

    Args:
        value: The text or the path.
        name: What it is, for messages.
        is_shown: Whether messages may have the path in them.

    Raises:
        CertificateError: There is no such file, or no PEM text in it.
    """
    text = value
    if "-----BEGIN" not in value:
        path = os.path.expanduser(value)
        is_shown = is_shown and len(value) < 200 and value.isprintable()
        shown = repr(value) if is_shown else "the file that is named"
        try:
            with open(path, encoding="ascii") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            msg = f"{name}: cannot read {shown}: {reason}"
            raise CertificateError(msg) from None
        if "-----BEGIN" not in text:
            msg = f"{name}: {shown} has no PEM text in it"
            raise CertificateError(msg)
    return text


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
        if not 0 < int(port) < 65536:
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
        name = _FIELDS.get(key.lower())
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
        elif name == "MaxDiscoverAttempts" and int(value) == 0:
            problem = "must be at least 1"
        elif name == "NodePreference" and value.lower() not in _NODE_PREFERENCES:
            problem = f"must be one of {', '.join(_NODE_PREFERENCES)}"
        if problem:
            msg = f"the connection string has a {name} that {problem}"
            raise ConnectionSettingsError(msg)
