from __future__ import annotations

import json

import pytest

from eventsourcing_eventstoredb.server.engine.links import resolve
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import LINK_TYPE
from eventsourcing_eventstoredb.server.storage.records import NewEvent as LogEvent
from tests.support.client_library import (
    EventStoreDBClient,
    ExceptionThrownByHandler,
    InternalError,
    NewEvent,
    NotFound,
    StreamState,
    UnknownError,
)


def append(client: EventStoreDBClient, stream: str, *bodies: bytes) -> int:
    return client.append_events(
        stream,
        current_version=StreamState.ANY,
        events=[NewEvent("T", body) for body in bodies],
    )


def log_event(event_type: str = "T", data: bytes = b"") -> LogEvent:
    return LogEvent(b"0123456789abcdef", event_type, False, data)


@pytest.mark.parametrize(
    ("data", "found", "is_link"),
    [
        (b"1@dog", 1, True),
        (b" +1 @dog", 1, True),
        (b"-1@dog", 2, True),
        (b"7@dog", None, True),
        (b"-2@dog", None, True),
        (b"0@cat", None, True),
        (b"1", None, True),
        (b"one@dog", "itself", False),
        (b"one", "itself", False),
        (b"\xff", "itself", False),
        (b"99999999999999999999@dog", "itself", False),
    ],
)
def test_a_link_leads_to_its_event_if_there_is_one(data, found, is_link):
    log = Log()
    with log.transaction() as transaction:
        transaction.write("dog", 0, [log_event()] * 3)
        transaction.write("links", 0, [log_event(LINK_TYPE, data)])
    record = log.last_event("links")

    resolved = resolve(log, record)

    assert (resolved.link is record) is is_link
    if found == "itself":
        assert resolved.event is record
    else:
        number = None if resolved.event is None else resolved.event.number
        assert number == found
    log.close()


def test_positions_inside_a_record_cannot_be_read_from(client: EventStoreDBClient):
    first = append(client, "dog", b"1")
    last = append(client, "dog", b"2")

    for position, backwards in [
        (first + 1, False),
        (first + 1, True),
        (last + 1, True),
    ]:
        with pytest.raises(UnknownError, match="FilteredReadAllResult: Error"):
            list(client.read_all(commit_position=position, backwards=backwards))
    assert list(client.read_all(commit_position=last + 1)) == []


def test_a_subscription_after_a_position_inside_a_record_is_refused(
    client: EventStoreDBClient,
):
    first = append(client, "dog", b"1")
    append(client, "dog", b"2")

    with pytest.raises(ExceptionThrownByHandler):
        client.subscribe_to_all(commit_position=first + 1)


@pytest.mark.parametrize(
    ("metadata", "first", "count", "told"),
    [
        # Beyond the last event, which is 4, and beyond the first page of the read.
        ({"$tb": 9}, 0, 2, [9, 5]),
        ({"$tb": 40}, 0, 1000, [40, 5]),
        ({"$tb": 40}, 8, 1000, [40, 5]),
        # Within the first page.
        ({"$tb": 9}, 0, 1000, [5]),
        ({"$tb": 40}, 9, 1000, [5]),
        ({"$tb": 5}, 0, 2, [5]),
        ({"$tb": 5}, 5, 2, []),
        # Where there are events.
        ({"$tb": 3}, 0, 2, [3]),
        ({"$tb": 3}, 0, 1000, []),
        ({"$maxCount": 1}, 0, 4, [4]),
        ({"$maxCount": 1}, 0, 5, []),
        ({}, 7, 5, [5]),
        ({}, 5, 5, []),
        ({}, 0, 5, []),
    ],
)
def test_a_read_tells_where_it_is_sent_on_to(
    metadata: dict[str, int], first: int, count: int, told: list[int]
):
    log = Log()
    with log.transaction() as transaction:
        transaction.write("dog", 0, [log_event(data=b"{}")] * 5)
        written = LogEvent(b"1" * 16, "$metadata", True, json.dumps(metadata).encode())
        transaction.write("$$dog", 0, [written])
    reader = Reader(log)

    assert reader.first_numbers_to_tell(reader.view("dog"), first, count) == told
    log.close()


def test_large_events_are_read_a_few_at_a_time():
    log = Log()
    body = b"x" * 1_000_000
    with log.transaction() as transaction:
        transaction.write("dog", 0, [log_event(data=body)] * 10)

    pages = list(Reader(log).all_forwards(0, 100, None))

    assert sum(map(len, pages)) == 10
    assert max(map(len, pages)) <= 3
    log.close()


def test_expired_events_do_not_hide_younger_ones(client: EventStoreDBClient):
    append(client, "dog", *[b"1"] * 5)
    client.set_stream_metadata("dog", metadata={"$maxAge": 1000})

    assert len(client.get_stream("dog")) == 5


def test_metadata_that_hide_everything_leave_an_empty_stream(
    client: EventStoreDBClient,
):
    append(client, "dog", b"1", b"2")
    client.set_stream_metadata("dog", metadata={"$tb": 10})

    assert list(client.get_stream("dog")) == []
    with pytest.raises(NotFound):
        client.get_stream("cat")


def test_a_database_that_fails_is_an_error_of_the_server(server, client):
    append(client, "dog", b"1")
    server._running.log._database.reader.execute("DROP TABLE records")

    with pytest.raises(InternalError, match="no such table"):
        client.get_stream("dog")
