"""Looking through what lies in the store, newest first, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from eventsourcing_eventstoredb.browsing.events import BrowsedEvent, browsed
from eventsourcing_eventstoredb.protocol import retrying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, client_errors

# Later pages of a search grow, since then most of what lies there does not match.
_MAX_PAGE_SIZE = 2_000
# Gets where to begin, how many to read, and the seconds that it may take.
Read = Callable[[int | None, int, float], Iterator[Any]]


@dataclass(frozen=True)
class Page:
    """
    Some events, newest first.

    Attributes:
        events: Those that match.
        next_before: What to continue before, for older ones; None if there are none.
            There may be some though this page is short or empty: then so many were
            looked at that did not match.
    """

    events: tuple[BrowsedEvent, ...]
    next_before: int | None


@dataclass(frozen=True)
class Wanted:
    """
    What a search is for.

    Attributes:
        limit: Most events to return.
        before: Where an event lies, to return older ones only; None for the newest.
        since: The oldest to return, by the server's clock; None for all.
        matches: Tells of an event whether it is one.
        most: How many events the server may send to find some, at least.
        is_only: Whether there is one at most, so that it is the last to be looked at.
    """

    limit: int
    before: int | None
    since: datetime | None
    matches: Callable[[BrowsedEvent], bool]
    most: int
    is_only: bool = False

    def is_too_old(self, event: BrowsedEvent) -> bool:
        """Return whether an event, and so all that follow it, are older."""
        since, time = self.since, event.time
        return since is not None and time is not None and time < since


def search(
    client: EventStoreDBClient,
    what: str,
    read: Read,
    place: Callable[[BrowsedEvent], int],
    wanted: Wanted,
) -> Page:
    """
    Return the events that are wanted, newest first.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        what: What is done, for errors.
        read: Reads backwards.
        place: Where an event lies, in the numbers that *read* takes.
        wanted: Which events.

    Raises:
        ProgrammingError: No event begins where the search is to begin.
        OperationalError: The read was cut short.
    """

    def attempt(seconds: float) -> Page:
        with client_errors(what):
            try:
                return _search(read, place, wanted, seconds)
            except CallError as error:
                if error.reason is Reason.STREAM_DELETED:
                    return Page((), None)
                raise

    return retrying.with_retries(client, attempt, retrying.READ_DEADLINE)


def _search(
    read: Read,
    place: Callable[[BrowsedEvent], int],
    wanted: Wanted,
    seconds: float,
) -> Page:
    found: list[BrowsedEvent] = []
    start = wanted.before
    looked_at = 0
    # Half of the time is left for the last page, and what was found is returned.
    end = monotonic() + seconds / 2
    # One more tells whether there are older ones.
    size = min(wanted.limit + 1, _MAX_PAGE_SIZE)
    while True:
        received = 0
        for message in read(start, size, seconds):
            if not message.HasField("event"):
                continue
            received += 1
            event = browsed(message.event.event)
            if wanted.is_too_old(event):
                return Page(tuple(found), None)
            if wanted.matches(event):
                if len(found) == wanted.limit:
                    return Page(tuple(found), start)
                found.append(event)
                if wanted.is_only:
                    return Page(tuple(found), None)
            start = place(event)
        looked_at += received
        if received < size:
            return Page(tuple(found), None)
        if looked_at >= wanted.most or monotonic() > end:
            return Page(tuple(found), start)
        size = min(size * 4, _MAX_PAGE_SIZE)
