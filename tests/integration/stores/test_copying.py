"""Copying an application's events and snapshots from another store."""

from __future__ import annotations

import gc
import io
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteRecorder

from django_esdb.applications import close_applications, get_application
from django_esdb.copying import copier
from django_esdb.copying.aggregates import Aggregates
from django_esdb.copying.source import opened_source
from eventsourcing_eventstoredb.copy_target import CopyTarget
from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder
from tests.support import other_stores
from tests.support.client_library import StreamState

# A store of its own for each kind, but for the one that is in memory.
STORES = ("sqlite", "postgresql", "eventsourcing-django")
ZOO = f"{__name__}:Zoo"

pytestmark = pytest.mark.own_store("its log must have what was copied alone")
each_store = pytest.mark.parametrize("old_store", STORES, indirect=True)


@pytest.fixture
def old_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """The environment of the store to copy from; on SQLite unless a test says more."""
    kind = getattr(request, "param", STORES[0])
    yield from other_stores.empty_store(kind, request, tmp_path)


class Lion(Aggregate):
    """Begins at version 0, as EventStoreDB's streams do."""

    INITIAL_VERSION = 0

    def __init__(self) -> None:
        self.meals: list[str] = []

    @event("Fed")
    def feed(self, meal: str) -> None:
        self.meals.append(meal)


class Zebra(Aggregate):
    """Begins at version 1, as the library's aggregates do unless they say otherwise."""

    def __init__(self) -> None:
        self.meals: list[str] = []

    @event("Fed")
    def feed(self, meal: str) -> None:
        self.meals.append(meal)


class Zoo(Application[UUID]):
    is_snapshotting_enabled = True


@pytest.fixture
def target_env(server: Any, settings: Any) -> dict[str, str]:
    settings.ESDB_URI = server.uri
    settings.ESDB_TOPIC_ALLOWLIST = [__name__]
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing_eventstoredb"}
    return settings.ESDB_ENV


@pytest.fixture
def zoo(old_store: dict[str, str], target_env: dict[str, str]) -> Iterator[Zoo]:
    """The application where it was."""
    application = Zoo(old_store)
    yield application
    application.close()


@pytest.fixture
def new_zoo(target_env: dict[str, str]) -> Iterator[Zoo]:
    """The application on EventStoreDB."""
    yield get_application(Zoo)
    close_applications()


def assignments(old_store: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in old_store.items()]


def copy(old_store: dict[str, str], *options: str) -> list[str]:
    """Run the command; return its lines."""
    out = io.StringIO()
    call_command(
        "copyevents", ZOO, "--from", *assignments(old_store), *options, stdout=out
    )
    return out.getvalue().splitlines()


def fill(zoo: Zoo, animals: int = 4, meals: int = 3) -> list[Lion | Zebra]:
    """Save events of several animals in turn, and snapshots of two."""
    herd: list[Lion | Zebra] = [
        Zebra() if number % 2 else Lion() for number in range(animals)
    ]
    for each in herd:
        zoo.save(each)
    for meal in range(meals):
        for each in herd:
            each.feed(f"meal {meal}")
        for each in reversed(herd):
            zoo.save(each)
    for each in herd[:2]:
        zoo.take_snapshot(each.id, version=each.version - 1)
        zoo.take_snapshot(each.id)
    return herd


def log(zoo: Zoo) -> list[tuple[Any, str, bytes]]:
    """Return all that is recorded, in order, without versions."""
    found: list[tuple[Any, str, bytes]] = []
    last = None
    while page := zoo.recorder.select_notifications(
        last, 100, inclusive_of_start=False
    ):
        found += [
            (UUID(str(each.originator_id)), each.topic, bytes(each.state))
            for each in page
        ]
        last = page[-1].id
    return found


def snapshots(zoo: Zoo, animal: Lion | Zebra) -> list[StoredEvent]:
    assert zoo.snapshots is not None
    return list(zoo.snapshots.recorder.select_events(animal.id))


@each_store
@pytest.mark.django_db(transaction=True)
def test_events_and_snapshots_are_copied_in_order(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    herd = fill(zoo)
    lines = copy(old_store)

    assert log(new_zoo) == log(zoo)
    assert lines[0] == (
        "Copied 16 events; 0 were there already; all are of 4 aggregates"
    )
    assert "8 events have another version" in lines[1]
    assert lines[2] == "Copied 4 snapshots; 0 were there already"
    assert lines[3].startswith("Checked 16 events on both sides: SHA-256 ")
    for each in herd:
        there: Any = new_zoo.repository.get(each.id)
        assert there.meals == each.meals
        # Versions begin where EventStoreDB's positions do.
        assert there.version == 3
        there.feed("hay")
        new_zoo.save(there)
        again: Any = new_zoo.repository.get(each.id)
        assert again.meals == [*each.meals, "hay"]
    assert [each.originator_version for each in snapshots(new_zoo, herd[0])] == [2, 3]
    assert [each.originator_version for each in snapshots(new_zoo, herd[1])] == [2, 3]
    assert [bytes(each.state) for each in snapshots(new_zoo, herd[1])] == [
        bytes(each.state) for each in snapshots(zoo, herd[1])
    ]


@each_store
@pytest.mark.django_db(transaction=True)
def test_what_is_there_is_not_copied_again(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    herd = fill(zoo)
    first = copy(old_store)
    zoo.save(Lion())
    herd[2].feed("more")
    zoo.save(herd[2])
    lines = copy(old_store)

    assert lines[0] == (
        "Copied 2 events; 16 were there already; all are of 5 aggregates"
    )
    assert lines[2] == "Copied 0 snapshots; 4 were there already"
    assert lines[3] != first[3]
    assert copy(old_store)[3] == lines[3]
    assert log(new_zoo) == log(zoo)


@pytest.mark.parametrize("version", ["0", "1"])
def test_versions_begin_where_the_target_says(
    old_store: dict[str, str],
    zoo: Zoo,
    target_env: dict[str, str],
    version: str,
) -> None:
    target_env["EVENTSTOREDB_FIRST_VERSION"] = version
    zebra = Zebra()
    zebra.feed("hay")
    zoo.save(zebra)
    zoo.take_snapshot(zebra.id)
    lines = copy(old_store)

    new_zoo = get_application(Zoo)
    versions = [each.originator_version for each in new_zoo.events.get(zebra.id)]
    close_applications()
    assert versions == [int(version), int(version) + 1]
    assert any("another version" in line for line in lines) is (version == "0")


def test_it_goes_on_wherever_it_was_interrupted(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(zoo)
    append, append_snapshot = CopyTarget.append, CopyTarget.append_snapshot
    left = 1

    def limited(append: Any) -> Any:
        def append_some(*args: Any) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            append(*args)

        return append_some

    monkeypatch.setattr(CopyTarget, "append", limited(append))
    monkeypatch.setattr(CopyTarget, "append_snapshot", limited(append_snapshot))
    interrupted = 0
    while True:
        try:
            lines = copy(old_store)
            break
        except CommandError as error:
            if "goes on" not in str(error):
                raise
            interrupted += 1
            left = 2

    assert interrupted > 5
    assert lines[0].startswith("Copied ")
    assert log(new_zoo) == log(zoo)
    assert len(log(new_zoo)) == 16


def test_a_dry_run_writes_nothing_and_tells_the_same(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    fill(zoo)
    would = copy(old_store, "--dry-run")
    assert log(new_zoo) == []

    done = copy(old_store)
    assert [line.replace("Would copy", "Copied") for line in would] == done[:3]
    assert copy(old_store, "--dry-run")[0].startswith(
        "Would copy 0 events; 16 were there"
    )


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_is_there_and_differs_is_not_overwritten(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, options: tuple[str, ...]
) -> None:
    lion = Lion()
    zoo.save(lion)
    other = Lion._create(Lion.Created, id=lion.id)
    new_zoo.save(other)
    before = log(new_zoo)

    with pytest.raises(
        CommandError, match=r"another event .* nothing was over"
    ) as info:
        copy(old_store, *options)

    assert info.value.returncode == 1
    assert str(lion.id) in str(info.value)
    assert log(new_zoo) == before


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_the_application_has_saved_since_is_left(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, options: tuple[str, ...]
) -> None:
    lion = Lion()
    zoo.save(lion)
    copy(old_store)
    there: Any = new_zoo.repository.get(lion.id)
    there.feed("new")
    new_zoo.save(there)
    new_zoo.save(Lion())
    new_zoo.take_snapshot(lion.id)
    assert copy(old_store, *options)[0].endswith("1 aggregate")

    lion.feed("old")
    zoo.save(lion)
    before = log(new_zoo)
    with pytest.raises(CommandError, match="another event"):
        copy(old_store, *options)
    assert log(new_zoo) == before


def test_a_source_that_has_changed_since_is_noticed(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    fill(zoo)
    copy(old_store)
    with sqlite3.connect(old_store["SQLITE_DBNAME"]) as connection:
        connection.execute(
            "UPDATE stored_events SET state = CAST('{}' AS BLOB) WHERE rowid = 5"
        )
    connection.close()

    with pytest.raises(CommandError, match="as copy 5 version 1 of stream") as info:
        copy(old_store)
    assert info.value.returncode == 1


def test_a_copy_that_is_lost_is_noticed_by_the_check(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    herd = fill(zoo)
    append = CopyTarget.append

    def losing(self: CopyTarget, copies: Any) -> None:
        # The last event of this one.
        if str(herd[0].id) not in copies[0].stream or copies[-1].position < 3:
            append(self, copies)

    monkeypatch.setattr(CopyTarget, "append", losing)
    with pytest.raises(CommandError, match=f"lacks version 3 of stream '{herd[0].id}'"):
        copy(old_store)


def test_events_that_are_missing_in_the_source_are_noticed(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    lion = Lion()
    lion.feed("1")
    lion.feed("2")
    zoo.save(lion)
    with closing(sqlite3.connect(old_store["SQLITE_DBNAME"])) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE originator_version = 1")
    with pytest.raises(CommandError, match="version 2 where 1 has to be"):
        copy(old_store)
    with closing(sqlite3.connect(old_store["SQLITE_DBNAME"])) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE originator_version = 0")
    with pytest.raises(CommandError, match="begin at version 2"):
        copy(old_store)


def test_few_aggregates_need_be_remembered(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(zoo)
    monkeypatch.setattr("django_esdb.copying.aggregates._MOST_REMEMBERED", 1)
    monkeypatch.setattr("django_esdb.copying.source._PAGE", 3)
    monkeypatch.setattr("django_esdb.copying.source._SNAPSHOTS_PAGE", 1)
    copy(old_store, "--dry-run")
    copy(old_store)

    assert log(new_zoo) == log(zoo)
    with opened_source(Zoo, old_store) as source:
        aggregates = Aggregates(source)
        for each in source.events():
            aggregates.next(each)
        assert len(aggregates._known) == 1


def test_many_events_of_one_aggregate_go_in_several_appends(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    lion = Lion()
    for number in range(20):
        lion.feed(f"{number}" * 200)
    zoo.save(lion)
    monkeypatch.setattr(copier, "_MAX_BATCH_BYTES", 3_000)
    monkeypatch.setattr(copier, "_MAX_BATCH_EVENTS", 4)
    copy(old_store)
    there: Any = new_zoo.repository.get(lion.id)
    assert there.meals == lion.meals


def test_two_applications_may_be_copied_into_one_store(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, tmp_path: Path
) -> None:

    class Farm(Zoo):
        pass

    Farm.__module__ = __name__
    globals()["Farm"] = Farm
    env = {**old_store, "SQLITE_DBNAME": str(tmp_path / "farm.sqlite3")}
    farm = Farm(env)
    farm.save(Lion())
    farm.close()
    fill(zoo)
    copy(old_store)
    out = io.StringIO()
    call_command(
        "copyevents", f"{__name__}:Farm", "--from", *assignments(env), stdout=out
    )
    del globals()["Farm"]

    assert "Copied 1 event; 0 were there" in out.getvalue()
    assert copy(old_store)[0].startswith("Copied 0 events; 16 were there")


def test_text_ids_are_copied_as_they_are(
    old_store: dict[str, str], target_env: dict[str, str], new_zoo: Zoo
) -> None:
    env = {**old_store, "ORIGINATOR_ID_TYPE": "text"}
    source = Zoo(env)
    name = f"lion-{uuid4()}"
    state = source.mapper.to_stored_event(Lion().pending_events[0]).state
    source.recorder.insert_events([StoredEvent(name, 1, "topic", state)])
    source.close()

    # Before 9.5 the library makes no UUID of what it reads.
    if hasattr(SQLiteRecorder, "convert_originator_id"):
        with pytest.raises(CommandError, match="say ORIGINATOR_ID_TYPE=text"):
            copy(old_store)
    assert copy(env)[0].startswith("Copied 1 event;")
    assert copy(env)[0].startswith("Copied 0 events; 1 were there")
    recorder = new_zoo.recorder
    assert isinstance(recorder, EventStoreDBApplicationRecorder)
    (there,) = recorder.select_events(name)
    assert (there.originator_version, there.state) == (0, state)


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


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_stream_that_was_deleted_is_not_begun_again(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, options: tuple[str, ...]
) -> None:
    lion = Lion()
    zoo.save(lion)
    copy(old_store)
    recorder = new_zoo.recorder
    assert isinstance(recorder, EventStoreDBApplicationRecorder)
    recorder.client.delete_stream(  # type: ignore[attr-defined]
        str(lion.id), current_version=0
    )

    with pytest.raises(CommandError, match="does not show version 0") as info:
        copy(old_store, *options)
    assert info.value.returncode == 1

    recorder.client.tombstone_stream(  # type: ignore[attr-defined]
        str(lion.id), current_version=StreamState.ANY
    )
    with pytest.raises(CommandError, match="does not show version 0"):
        copy(old_store, *options)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_stream_that_others_have_deleted_is_left(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo, options: tuple[str, ...]
) -> None:
    lion = Lion()
    zoo.save(lion)
    new_zoo.save(Lion._create(Lion.Created, id=lion.id))
    recorder = new_zoo.recorder
    assert isinstance(recorder, EventStoreDBApplicationRecorder)
    recorder.client.delete_stream(  # type: ignore[attr-defined]
        str(lion.id), current_version=0
    )
    with pytest.raises(CommandError, match=r"Cannot copy .* was deleted"):
        copy(old_store, *options)


def test_events_that_are_compressed_are_copied_as_they_are(
    old_store: dict[str, str], target_env: dict[str, str]
) -> None:
    target_env["COMPRESSOR_TOPIC"] = "zlib"
    zoo = Zoo({**old_store, **target_env, **old_store})
    herd = fill(zoo)
    assert copy(old_store)[0].startswith("Copied 16 events")

    new_zoo = get_application(Zoo)
    there: Any = new_zoo.repository.get(herd[0].id)
    assert log(new_zoo) == log(zoo)
    zoo.close()
    close_applications()
    assert there.meals == herd[0].meals


def test_snapshots_of_another_source_are_not_mixed(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    herd = fill(zoo)
    copy(old_store)
    with sqlite3.connect(old_store["SQLITE_DBNAME"]) as connection:
        connection.execute(
            "UPDATE stored_snapshots SET state = CAST('{}' AS BLOB) "
            "WHERE originator_id = ? AND originator_version = 3",
            [herd[0].id.hex],
        )
    connection.close()
    with pytest.raises(CommandError, match=r"as the snapshot of version 3 .*nothing"):
        copy(old_store)


def test_a_snapshot_that_the_application_took_stays_the_last(
    old_store: dict[str, str], zoo: Zoo, new_zoo: Zoo
) -> None:
    lion = Lion()
    lion.feed("hay")
    zoo.save(lion)
    copy(old_store)
    new_zoo.take_snapshot(lion.id)
    before = snapshots(new_zoo, lion)
    zoo.take_snapshot(lion.id)

    assert copy(old_store)[1] == (
        "Copied 0 snapshots; 0 were there already; 1 are not needed, since later ones "
        "are there"
    )
    assert snapshots(new_zoo, lion) == before
