"""The library's way to page through notifications, on positions with gaps."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import LocalNotificationLog
from eventsourcing.persistence import ProgrammingError, StoredEvent

from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.streams.mapping import Layout
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.running_stores import own_prefix


@pytest.fixture(params=["", "school"])
def recorder(
    server: EmbeddedServer, request: pytest.FixtureRequest
) -> Iterator[EventStoreDBApplicationRecorder]:
    layout = Layout(own_prefix(server, request.param))
    with EventStoreDBClient(server.uri) as client:
        yield EventStoreDBApplicationRecorder(client, layout=layout)


def record(recorder: EventStoreDBApplicationRecorder, count: int) -> list[UUID]:
    """Record events, each of an aggregate of its own, with others' in between."""
    originator_ids = [uuid4() for _ in range(count)]
    for originator_id in originator_ids:
        recorder.insert_events([StoredEvent(originator_id, 0, "topic", b"{}")])
        recorder.client.append_events(
            "others", current_version=StreamState.ANY, events=[NewEvent("other", b"{}")]
        )
    return originator_ids


def test_notification_log_is_paged_through(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    recorded = record(recorder, 25)
    log = LocalNotificationLog(recorder, section_size=10)

    found, sizes, section_id = [], [], "1,10"
    while section_id is not None:
        section = log[section_id]
        found += [notification.originator_id for notification in section.items]
        sizes.append(len(section.items))
        section_id = section.next_id

    assert found == recorded
    assert sizes == [10, 10, 5]


def test_first_id_of_the_library_is_the_beginning(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    assert recorder.select_notifications(1, 10) == []
    [first, second] = record(recorder, 2)

    for topics in ((), ["topic"]):
        selected = recorder.select_notifications(1, 10, topics=topics)
        assert [n.originator_id for n in selected] == [first, second]
    assert len(recorder.select_notifications(1, 1)) == 1


def test_id_and_one_is_the_next_event(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    record(recorder, 3)
    ids = [n.id for n in recorder.select_notifications(None, 10)]

    for index, notification_id in enumerate(ids):
        for inclusive in (True, False):
            selected = recorder.select_notifications(
                notification_id + 1, 10, inclusive_of_start=inclusive
            )
            assert [n.id for n in selected] == ids[index + 1 :]
    [only] = recorder.select_notifications(ids[0] + 1, 10, stop=ids[1])
    assert only.id == ids[1]
    [only] = recorder.select_notifications(ids[0] + 1, 1, topics=["topic"])
    assert only.id == ids[1]


def test_other_position_inside_an_event_is_an_error_that_says_so(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    record(recorder, 2)
    [first, _] = recorder.select_notifications(None, 10)

    for inclusive in (True, False):
        with pytest.raises(
            ProgrammingError, match=r"inside an event.*inclusive_of_start=False"
        ):
            recorder.select_notifications(first.id + 2, 9, inclusive_of_start=inclusive)
    with pytest.raises(ProgrammingError, match="inside an event"):
        recorder.select_notifications(first.id + 1, 1, stop=first.id + 1)
