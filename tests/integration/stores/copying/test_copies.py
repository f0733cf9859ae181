"""Copying an application's events and snapshots from another store."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteRecorder

from django_esdb.applications.shared import close_applications, get_application
from django_esdb.copying.aggregates import Aggregates
from django_esdb.copying.source import opened_source
from eventsourcing_eventstoredb.copying.target import CopyTarget
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.streams import append_batches
from tests.support.animals import (
    STORES,
    Lion,
    Zebra,
    Zoo,
    assignments,
    copy,
    fill,
    log,
    snapshots,
)

pytestmark = pytest.mark.own_store("its log must have what was copied alone")
each_store = pytest.mark.parametrize(
    "old_store",
    [
        # One alone is in the database under test.
        pytest.param(
            kind,
            marks=[] if kind == "eventsourcing-django" else pytest.mark.any_database,
        )
        for kind in STORES
    ],
    indirect=True,
)


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
            if "continues" not in str(error):
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
    monkeypatch.setattr(append_batches, "_MOST_BYTES", 3_000)
    monkeypatch.setattr(append_batches, "_MOST_EVENTS", 4)
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
    # Its projections would never see them.
    for options in (["--dry-run"], []):
        with pytest.raises(CommandError, match="set ORIGINATOR_ID_TYPE to text"):
            copy(env, *options)
    target_env["ORIGINATOR_ID_TYPE"] = "text"
    assert copy(env)[0].startswith("Copied 1 event;")
    assert copy(env)[0].startswith("Copied 0 events; 1 were there")
    recorder = new_zoo.recorder
    assert isinstance(recorder, EventStoreDBApplicationRecorder)
    (there,) = recorder.select_events(name)
    assert (there.originator_version, there.state) == (0, state)


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
