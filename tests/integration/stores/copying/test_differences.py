"""What is done about events and snapshots that are not those of the source."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from django.core.management import CommandError

from eventsourcing_eventstoredb.copying.target import CopyTarget
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from tests.support.animals import Lion, Zoo, copy, fill, log, snapshots
from tests.support.client_library import StreamState

pytestmark = pytest.mark.own_store("its log must have what was copied alone")


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
