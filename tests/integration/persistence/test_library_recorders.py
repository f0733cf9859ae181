"""The library's own test cases for recorders, against the embedded server."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    StoredEvent,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import EventStoreDBClient


class WithServer:
    INITIAL_VERSION = 0

    def new_originator_id(self) -> UUID:
        """The library's own from 9.5 on."""
        return uuid4()

    @pytest.fixture(autouse=True)
    def _client(self, server: EmbeddedServer):
        self.client = EventStoreDBClient(server.uri)
        yield
        self.client.close()


class TestAggregateRecorder(WithServer, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return EventStoreDBAggregateRecorder(self.client)


class TestApplicationRecorder(WithServer, ApplicationRecorderTestCase):
    EXPECT_CONTIGUOUS_NOTIFICATION_IDS = False

    def create_recorder(self) -> ApplicationRecorder:
        return EventStoreDBApplicationRecorder(self.client)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_insert_select(self) -> None:
        """
        IDs are positions in EventStoreDB's log: they grow, with gaps.

        Takes the place of the library's test, which wants 1, 2 and 3.
        """
        recorder = self.create_recorder()
        assert recorder.select_notifications(start=None, limit=3) == []
        assert recorder.select_notifications(None, 3, topics=["topic1"]) == []
        assert recorder.max_notification_id() is None

        id1, id2 = self.new_originator_id(), self.new_originator_id()
        event1 = StoredEvent(id1, 0, "topic1", b"state1")
        event2 = StoredEvent(id1, 1, "topic2", b"state2")
        event3 = StoredEvent(id2, 0, "topic3", b"state3")
        first_save = recorder.insert_events([event1, event2])
        second_save = recorder.insert_events([event3])
        assert recorder.select_events(id1) == [event1, event2]
        assert recorder.select_events(id2) == [event3]
        with pytest.raises(IntegrityError):
            recorder.insert_events([event3])

        notifications = recorder.select_notifications(start=None, limit=10)
        ids = [notification.id for notification in notifications]
        assert sorted(set(ids)) == ids
        assert first_save == [ids[1], ids[1]]
        assert second_save == [ids[2]]
        assert recorder.max_notification_id() == ids[2]
        assert [
            (n.originator_id, n.originator_version, n.topic, n.state)
            for n in notifications
        ] == [
            (event.originator_id, event.originator_version, event.topic, event.state)
            for event in (event1, event2, event3)
        ]

        def selected(*args, **kwargs) -> list[int]:
            found = [n.id for n in recorder.select_notifications(*args, **kwargs)]
            return [ids.index(i) for i in found]

        assert selected(None, 1) == [0]
        assert selected(None, 0) == []
        assert selected(ids[0], 10) == [0, 1, 2]
        assert selected(ids[1], 1) == [1]
        assert selected(ids[1], 2) == [1, 2]
        assert selected(ids[0], 1, inclusive_of_start=False) == [1]
        assert selected(ids[0], 10, inclusive_of_start=False) == [1, 2]
        assert selected(ids[2], 1, inclusive_of_start=False) == []
        assert selected(None, 10, stop=ids[1]) == [0, 1]
        assert selected(ids[1], 10, stop=ids[1]) == [1]
        assert selected(ids[1], 10, stop=ids[0]) == []
        assert selected(ids[0], 10, stop=ids[1], inclusive_of_start=False) == [1]
        assert selected(None, 10, topics=["topic1", "topic3"]) == [0, 2]
        assert selected(ids[0], 10, topics=["topic2"]) == [1]
        assert selected(
            ids[0], 10, topics=["topic1", "topic3"], inclusive_of_start=False
        ) == [2]


class TestNonInterleavingNotificationIDs(
    WithServer, NonInterleavingNotificationIDsBaseCase
):
    insert_num = 1000

    def create_recorder(self) -> ApplicationRecorder:
        return EventStoreDBApplicationRecorder(self.client)


# The abstract cases are not to be collected.
del AggregateRecorderTestCase
del ApplicationRecorderTestCase
del NonInterleavingNotificationIDsBaseCase
