"""Notifications of recorded events: whose they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from eventsourcing_eventstoredb.protocol.generated import streams
from eventsourcing_eventstoredb.streams import event_filter
from eventsourcing_eventstoredb.streams.event_filter import EventFilter
from eventsourcing_eventstoredb.streams.mapping import Layout


def recorded(stream: str) -> Any:
    event = streams.ReadResp.ReadEvent.RecordedEvent()
    event.stream_identifier.stream_name = stream.encode()
    event.metadata["type"] = "school.domain:Dog.Registered"
    event.metadata["created"] = "17000000000000000"
    event.id.string = str(uuid4())
    return event


def originator_id(events: EventFilter, stream: str) -> UUID | str | None:
    notification = events.notification(recorded(stream))
    return None if notification is None else notification.originator_id


def test_each_of_many_streams_has_its_own_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_filter, "_MOST_UUIDS", 10)
    events = EventFilter(Layout(prefix="school"), originator_id_type=UUID)
    ids = [uuid4() for _ in range(35)]

    for each in [*ids, *ids]:
        for _ in range(2):
            assert originator_id(events, f"school-{each}") == each
    assert len(events._uuids) <= 10


@pytest.mark.parametrize(
    "name", ["x", "", str(UUID(int=0xABC)).upper(), f"{UUID(int=1)} ", UUID(int=1).hex]
)
def test_another_spelling_is_no_id_however_often_it_comes(name: str) -> None:
    events = EventFilter(Layout(), originator_id_type=UUID)

    assert originator_id(events, name) is None
    assert originator_id(events, str(UUID(int=1))) == UUID(int=1)
    assert originator_id(events, name) is None
    assert len(events._uuids) == 1


@pytest.mark.parametrize("originator_id_type", [UUID, str, None])
@pytest.mark.parametrize("prefix", ["", "school", "snapshot"])
def test_events_of_others_are_left_out_however_often_they_come(
    originator_id_type: type | None, prefix: str
) -> None:
    layout = Layout(prefix=prefix)
    topics = ["school.domain:Dog.Registered", "$own"]
    events = EventFilter(layout, topics, originator_id_type)
    own = recorded(layout.stream_name(UUID(int=1)))
    hidden = recorded(layout.snapshots_stream_name(UUID(int=1)))
    system = recorded(layout.stream_name(UUID(int=1)))
    other = recorded(layout.stream_name(UUID(int=1)))
    system.metadata["type"] = "$own"
    other.metadata["type"] = "school.domain:Dog.TrickAdded"

    for _ in range(2):
        found = [events.notification(each) for each in (own, hidden, system, other)]
        assert [each is not None for each in found] == [True, False, False, False]
        assert found[0] is not None
        assert str(found[0].originator_id) == str(UUID(int=1))


def test_topics_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_filter, "_MOST_TOPICS", 3)
    events = EventFilter(Layout(), originator_id_type=UUID)

    for number in range(9):
        event = recorded(str(UUID(int=number)))
        event.metadata["type"] = f"school.domain:Dog.Number{number}"
        assert events.notification(event) is not None
    assert len(events._id_types) <= 3
