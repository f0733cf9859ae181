"""The server as a command. A management command can wrap the same options."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eventsourcing_eventstoredb.client_library import ClientLibraryError
from eventsourcing_eventstoredb.server.engine.append_size import MAX_APPEND_BYTES
from eventsourcing_eventstoredb.server.exceptions import ServerError, error_line
from eventsourcing_eventstoredb.server.storage.database import DataFileError
from eventsourcing_eventstoredb.signal_threads import stopped_by_signals
from eventsourcing_eventstoredb.version import __version__

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.server.embedded import EmbeddedServer

DEFAULT_PORT: Final = 2113

DESCRIPTION: Final = (
    "Runs a server that speaks EventStoreDB's protocol as version 23.10 does, for"
    " development and tests."
    " Production runs EventStoreDB itself: this server is one process on one machine,"
    " without replication, projections or backups."
)

EXIT_FAILED: Final = 1
EXIT_STATUSES: Final = {
    "0": "stopped by a signal",
    "1": "the server cannot start",
    "2": "an option is wrong",
}

SIGNALS_SECONDS: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the server's options to a command's parser."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="Address to listen on (default: %(default)s, this machine only).",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="Port to listen on, 0 for a free one (default: %(default)s).",
    )
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="Keep the events in this file; it is made when missing.",
    )
    storage.add_argument(
        "--in-memory",
        action="store_true",
        help="Keep the events in memory until the server stops (the default).",
    )
    parser.add_argument(
        "--max-append-size",
        type=int,
        default=MAX_APPEND_BYTES,
        metavar="BYTES",
        help="The most bytes of data that one append may have (default: %(default)s).",
    )
    parser.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="PEM file of the certificate chain; turns TLS on.",
    )
    parser.add_argument(
        "--tls-key",
        type=Path,
        metavar="FILE",
        help="PEM file of the certificate's key.",
    )
    parser.add_argument(
        "--user",
        type=parse_user,
        action="append",
        default=[],
        metavar="NAME:PASSWORD",
        help="An admin; may be repeated. Needs TLS. Other users of this machine see"
        " it: --users-file and the variable EMBEDDED_SERVER_USERS are safer.",
    )
    parser.add_argument(
        "--users-file",
        type=Path,
        metavar="FILE",
        help="A file with an admin's NAME:PASSWORD in each line.",
    )
    parser.add_argument(
        "--stream-users-file",
        type=Path,
        metavar="FILE",
        help="The same for users as of --stream-user.",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="Listen on other addresses than this machine's without TLS and users.",
    )
    parser.add_argument(
        "--stream-user",
        "--reader",
        dest="stream_user",
        type=parse_user,
        action="append",
        default=[],
        metavar="NAME:PASSWORD",
        help="A user who may read and write streams, yet neither $all nor"
        " streams that begin with $; may be repeated. Needs TLS."
        " --reader is its former name.",
    )


def exit_status_help(statuses: Mapping[str, str]) -> str:
    """Return what a command's help says of its exit statuses."""
    listed = ", ".join(f"{key} {text}" for key, text in statuses.items())
    return f"Exit status: {listed}."


def parse_user(text: str) -> tuple[str, str]:
    """
    Read a name and a password.

    Raises:
        argparse.ArgumentTypeError: They are not separated by a colon. The text is
            not repeated, as it may be a password.
    """
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        msg = "give a name, a colon and a password"
        raise argparse.ArgumentTypeError(msg)
    return name, password


def server_from(options: argparse.Namespace) -> EmbeddedServer:
    """
    Make the server that parsed options describe, not started yet.

    Raises:
        ServerError: The options do not fit together, or there is no client library.
    """
    users = [
        *options.user,
        *_listed(options.users_file),
        *_said("EMBEDDED_SERVER_USERS"),
    ]
    stream_users = [
        *options.stream_user,
        *_listed(options.stream_users_file),
        *_said("EMBEDDED_SERVER_STREAM_USERS"),
    ]
    is_safe = options.tls_cert is not None and bool(users or stream_users)
    if not (is_safe or options.insecure or _is_loopback(options.host)):
        msg = (
            f"On {options.host} others can reach this server: give it a certificate and"
            " users, or --insecure if everyone may read and write."
        )
        raise ServerError(msg)
    return make_server(
        host=options.host,
        port=options.port,
        data=options.data,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        users=dict(users),
        readers=dict(stream_users),
        max_append_size=options.max_append_size,
    )


def make_server(**arguments: Any) -> EmbeddedServer:
    """
    Make a server, not started yet.

    Args:
        arguments: As for :class:`~eventsourcing_eventstoredb.server.EmbeddedServer`.

    Raises:
        ServerError: They do not fit together, or there is no client library.
    """
    try:
        # Loads the client library, which may not be there.
        from eventsourcing_eventstoredb.server.embedded import EmbeddedServer
    except ClientLibraryError as error:
        raise ServerError(f"{error}.") from error
    return EmbeddedServer(**arguments)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listed(path: Path | None) -> list[tuple[str, str]]:
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        msg = f"Cannot read the users in {path}: {reason}."
        raise ServerError(msg) from None
    return _parsed(text, str(path))


def _said(variable: str) -> list[tuple[str, str]]:
    return _parsed(os.environ.get(variable, ""), variable)


def _parsed(text: str, where: str) -> list[tuple[str, str]]:
    users = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                users.append(parse_user(line.strip()))
            except argparse.ArgumentTypeError as error:
                msg = f"{where}, line {number}: {error}."
                raise ServerError(msg) from None
    return users


def serve_until_stopped(
    server: EmbeddedServer,
    write: Callable[[str], object],
    stopped: threading.Event | None = None,
) -> None:
    """
    Run a server until SIGTERM, SIGINT or SIGHUP comes; blocks until then.

    Args:
        server: The server, not started yet.
        write: Called with the line that says where the server listens, once it does.
        stopped: Set it to stop the server from another thread. Signals are handled
            only when this is called from the main thread.

    Raises:
        DataFileError, ServerError: The server cannot start.
    """
    stopped = stopped or threading.Event()
    with stopped_by_signals(stopped.set), server:
        write(f"listening on {server.uri}")
        # A signal that reaches another thread, such as one of gRPC's, does not wake
        # this one, in which Python would handle it: so it wakes by itself.
        while not stopped.wait(SIGNALS_SECONDS):
            pass


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Returns:
        The exit status: 0 when stopped by a signal, 1 when the server cannot start.
        Wrong options end the process with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m eventsourcing_eventstoredb.server",
        description=DESCRIPTION,
        epilog=exit_status_help(EXIT_STATUSES),
    )
    parser.add_argument(
        "--version", action="version", version=f"django-esdb {__version__}"
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        serve_until_stopped(server_from(options), _print)
    except (DataFileError, ServerError) as error:
        sys.stderr.write(f"{error_line(error)}\n")
        return EXIT_FAILED
    return 0


def _print(line: str) -> None:
    # What waits for the line reads a pipe: without the flush it would not come.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
