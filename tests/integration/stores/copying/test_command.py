"""What ``copyevents`` says and refuses."""

from __future__ import annotations

import gc
import io
import sqlite3
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.persistence import StoredEvent

from tests.support.animals import ZOO, Lion, Zoo, assignments, copy, fill

pytestmark = pytest.mark.own_store("its log must have what was copied alone")


def test_another_cipher_or_compressor_is_refused(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    zoo.save(Lion())
    with pytest.raises(CommandError, match="COMPRESSOR_TOPIC is another") as info:
        copy({**old_store, "COMPRESSOR_TOPIC": "zlib"})
    assert info.value.returncode == 2

    zoo.recorder.insert_events([StoredEvent(uuid4(), 0, "topic", b"\x00")])
    with sqlite3.connect(old_store["SQLITE_DBNAME"]) as connection:
        connection.execute("DELETE FROM stored_events WHERE rowid = 1")
    connection.close()
    with pytest.raises(CommandError, match="first event cannot be read") as info:
        copy(old_store)
    assert info.value.returncode == 2


def test_an_empty_source_has_nothing_to_copy(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    assert copy(old_store) == ["The source has no events"]


def test_a_source_without_snapshots_is_said_to_have_none(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    zoo.save(Lion())
    with sqlite3.connect(old_store["SQLITE_DBNAME"]) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%snapshots' "
            "AND type = 'table'"
        ).fetchall():
            connection.execute(f"DROP TABLE {name}")
    connection.close()
    for options in (("--dry-run",), ()):
        assert copy(old_store, *options)[1].startswith(
            "No snapshots were found: no such"
        )


def test_silence_and_progress(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(zoo)
    monkeypatch.setattr("django_esdb.management.progress._SECONDS", 0)
    assert copy(old_store, "-v", "0", "--dry-run") == []
    said = copy(old_store)
    assert any(line.startswith("Copying: 16 events, 100%") for line in said)
    assert not any("100%" in line for line in copy(old_store, "--no-progress"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(zoo)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("django_esdb.management.progress._BAR_SECONDS", 0)
    out = Terminal()
    call_command("copyevents", ZOO, "--from", *assignments(old_store), stdout=out)
    assert "Checking" in out.getvalue()
    assert "16 events" in out.getvalue()
    assert "Copied 16 events" in out.getvalue()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["SQLITE_DBNAME=x"], "PERSISTENCE_MODULE"),
        (["PERSISTENCE_MODULE=eventsourcing_eventstoredb"], "EventStoreDB itself"),
        (["PERSISTENCE_MODULE=eventsourcing.popo"], "memory"),
        (["PERSISTENCE_MODULE=no.such.module"], "Cannot open the source"),
        (
            ["PERSISTENCE_MODULE=eventsourcing.sqlite", "SQLITE_DBNAME=/no/such/file"],
            "There is no file '/no/such/file'",
        ),
        (["PERSISTENCE_MODULE=eventsourcing.sqlite", "tiger"], "Value 2 of --from"),
    ],
)
def test_a_source_that_is_none_is_refused(
    old_store: dict[str, str], new_zoo: Zoo, given: list[str], text: str
) -> None:
    with pytest.raises(CommandError) as info:
        call_command("copyevents", ZOO, "--from", *given)
    assert text in str(info.value)
    assert "tiger" not in str(info.value)
    assert info.value.returncode == 2


def test_no_secret_is_shown(
    old_store: dict[str, str], new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "PASSWORD_OF_TIGERS=tiger"
    with pytest.raises(CommandError, match="Name the application before") as info:
        call_command("copyevents", secret, "--from", "A=b")
    assert "tiger" not in str(info.value)
    with pytest.raises(CommandError, match="unrecognized arguments") as info:
        call_command("copyevents", ZOO, "--from", "A=b", "-v", "0", secret)
    assert "tiger" not in str(info.value)

    def fail(*args: Any) -> Any:
        raise RuntimeError("postgres://me:tiger@host does not answer, nor to lion")

    monkeypatch.setattr("django_esdb.copying.source.make_application", fail)
    with pytest.raises(CommandError) as info:
        call_command(
            "copyevents",
            ZOO,
            "--from",
            "PERSISTENCE_MODULE=x",
            "POSTGRES_PASSWORD=lion",
            "POSTGRES_DBNAME=postgres://me:tiger@host",
        )
    assert "tiger" not in str(info.value)
    assert "lion" not in str(info.value)


def test_a_store_that_is_no_database_is_one_line(
    new_zoo: Zoo, old_store: dict[str, str]
) -> None:
    Path(old_store["SQLITE_DBNAME"]).write_bytes(b"no database at all" * 100)
    with pytest.raises(CommandError, match=r"source: .*not a database"):
        copy(old_store)
    # The library leaves such a connection to the collector, which Python 3.13 tells.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_an_application_elsewhere_is_refused(
    old_store: dict[str, str], zoo: Zoo, settings: Any, target_env: dict[str, str]
) -> None:
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    with pytest.raises(CommandError, match="elsewhere than in EventStoreDB") as info:
        copy(old_store)
    assert info.value.returncode == 2
