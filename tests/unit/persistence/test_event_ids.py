from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122

from eventsourcing_eventstoredb.protocol.event_ids import new_event_id


def test_ids_are_random_ones() -> None:
    event_id = new_event_id()

    assert event_id.version == 4
    assert event_id.variant == RFC_4122


def test_no_two_are_the_same_in_whatever_threads_they_are_made() -> None:
    with ThreadPoolExecutor(8) as executor:
        ids = list(executor.map(lambda _: new_event_id(), range(10_000)))

    assert len(set(ids)) == 10_000
