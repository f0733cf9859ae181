"""What the server refuses unless it is told otherwise, and what it makes."""

from __future__ import annotations

import argparse
import stat
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import cli
from eventsourcing_eventstoredb.server.embedded import ServerError
from eventsourcing_eventstoredb.server.engine.filters import Filter
from eventsourcing_eventstoredb.server.errors import InvalidArgumentError
from eventsourcing_eventstoredb.server.storage.database import Database, DataFileError


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:a{1000}){1000}",
        "((a{100}){100}){100}",
        "a{1000}{1000}",
        "(?x)(a{1000} ){1000}",
        "(?:[)]{300}){300}",
        "(?:a{0,999}){,999}",
        "(?:" + "a" * 1000 + "){1000}",
        "a" * 100_001,
    ],
    ids=lambda pattern: pattern[:30],
)
def test_a_pattern_that_is_too_large_is_refused_before_it_is_compiled(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regex.compile", lambda pattern: pytest.fail("compiled"))

    with pytest.raises(InvalidArgumentError, match="counted repeats"):
        Filter("type", pattern, ())


@pytest.mark.parametrize(
    "pattern",
    [
        "-".join(f"[0-9a-f]{{{n}}}" for n in (8, 4, 4, 4, 12)),
        "|".join(f"school.domain:Dog.Event{n}" for n in range(2000)),
        r"^\(a{3}[(]{5}\)$",
        "a{b",
    ],
    ids=lambda pattern: pattern[:30],
)
def test_ordinary_patterns_are_compiled(pattern: str) -> None:
    Filter("type", pattern, ())


def test_other_addresses_need_tls_and_users_or_consent() -> None:
    with pytest.raises(ServerError, match="--insecure"):
        cli.server_from(options("--host", "0.0.0.0"))
    cli.server_from(options("--host", "0.0.0.0", "--insecure"))
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        cli.server_from(options("--host", host))


def test_users_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ("--tls-cert", "cert", "--tls-key", "key")
    file = tmp_path / "users"
    file.write_text("anna:a:b\n\nbob:c\n")
    monkeypatch.setenv("EMBEDDED_SERVER_STREAM_USERS", "carl:d")
    reader = ("--reader", "dora:e")
    server = cli.server_from(options(*tls, "--users-file", str(file), *reader))

    assert server._users.admins == {"anna": "a:b", "bob": "c"}
    assert server._users.readers == {"carl": "d", "dora": "e"}

    file.write_text("anna:a\nsecret\n")
    with pytest.raises(ServerError, match="line 2") as raised:
        cli.server_from(options(*tls, "--users-file", str(file)))
    assert "secret" not in str(raised.value)


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    database = Database(path)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    database.close()

    assert modes == {0o600}


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "events.db.lock").symlink_to(target)

    with pytest.raises(DataFileError, match="is a link"):
        Database(tmp_path / "events.db")
    assert target.read_text() == "precious"


@pytest.mark.parametrize("kind", ["folder", "memory", "text"])
def test_what_is_no_data_file_gets_one_line_and_no_lock(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("text")
    (tmp_path / "folder").mkdir()
    path = Path(":memory:" if kind == "memory" else kind)

    with pytest.raises(DataFileError) as raised:
        Database(path)

    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("*.lock"))
