"""Who listens on a port, as far as psutil can tell."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import psutil
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer, ServerError
from eventsourcing_eventstoredb.server.port_owner import _name, port_owner


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_the_process_and_what_stops_it_are_told(port: int) -> None:
    owner = port_owner(port)

    assert owner is not None
    assert (owner.pid, owner.stop) == (os.getpid(), f"kill {os.getpid()}")
    assert str(owner).startswith(f"process {os.getpid()} (")


def test_nobody_is_told_of_a_port_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    assert port_owner(port) is None


@pytest.mark.parametrize("reason", ["not installed", "not allowed"])
def test_without_psutil_the_message_says_what_is_known(
    port: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    if reason == "not installed":
        monkeypatch.setitem(sys.modules, "psutil", None)
    else:
        monkeypatch.setattr(psutil, "net_connections", refuse)

    with pytest.raises(ServerError) as refused:
        EmbeddedServer(port=port).start()

    assert str(refused.value) == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. Stop what listens "
        "there, or choose another host or port."
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/usr/bin/python", "manage.py", "runserver"], "python manage.py runserver"),
        (["python", "-m", "demo", "--key", "s3cret"], "python -m demo"),
        (["server", "--user=admin:s3cret"], "server"),
        (["a\x1b[2Jb"], "a?[2Jb"),
        ([], ""),
    ],
)
def test_options_are_left_out_of_a_name(arguments: list[str], name: str) -> None:
    assert _name(arguments) == name
