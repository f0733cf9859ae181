"""Recorders of stored events in EventStoreDB streams."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import grpc
from esdbclient import EventStoreDBClient, RecordedEvent, StreamState
from esdbclient.common import AbstractReadResponse
from esdbclient.exceptions import (
    AccessDeniedError,
    GrpcError,
    NotFound,
    StreamIsDeleted,
)
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from eventsourcing_eventstoredb import mapping
from eventsourcing_eventstoredb.exceptions import client_errors
from eventsourcing_eventstoredb.subscriptions import EventStoreDBSubscription

# What EventStoreDB's $tb is set to when a stream is deleted.
_DELETED_TRUNCATE_BEFORE = 2**63 - 1

# Page sizes for reading all streams: the first is what was asked for, later
# ones grow, since then most of what lies there is not the application's.
_MAX_PAGE_SIZE = 5000


class EventStoreDBAggregateRecorder(AggregateRecorder):
    """
    Keeps each aggregate's events, or its snapshots, in a stream of its own.

    Aggregates begin at version 0, as EventStoreDB's streams do. One call
    writes to one stream, in one transaction.

    Args:
        client: Any esdbclient client; it stays the caller's to close.
        for_snapshotting: Whether these are snapshots, for which versions have
            gaps and a conflict is impossible.
    """

    def __init__(
        self, client: EventStoreDBClient, for_snapshotting: bool = False
    ) -> None:
        self.client = client
        self.for_snapshotting = for_snapshotting

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """
        Append the events of one aggregate; all of them or none.

        Returns:
            None: an aggregate's sequence has no notification IDs.

        Raises:
            IntegrityError: The stream is not at the version before the first
                event's, was deleted, or the versions have a gap.
            ProgrammingError: The events are of several aggregates. Nothing was
                written.
            OperationalError: The server could not be asked, or did not answer.
        """
        self._append(stored_events)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """
        Read an aggregate's events in one round trip, in order of version.

        Args:
            originator_id: The aggregate's ID.
            gt: Lowest version to leave out; None for the first one on.
            lte: Highest version to return; None for up to the last.
            desc: Highest version first.
            limit: Most events to return; None for all.

        Returns:
            The events; an empty list if the stream does not exist or was
            deleted.

        Raises:
            OperationalError: The read was cut short. Part of a stream is never
                returned.
        """
        lowest = 0 if gt is None else max(0, gt + 1)
        highest = sys.maxsize if lte is None else lte
        wanted = sys.maxsize if limit is None else limit
        if wanted <= 0 or highest < lowest:
            return []
        if self.for_snapshotting:
            return self._select_snapshots(originator_id, lowest, highest, desc, wanted)
        position = None
        if desc and lte is not None:
            # A position past the end reads from the end.
            position = highest
        elif not desc and gt is not None:
            position = lowest
        return [
            mapping.stored_event(originator_id, event)
            for event in self._read_stream(
                mapping.stream_name(originator_id),
                position,
                desc=desc,
                limit=min(wanted, highest - lowest + 1),
            )
            if lowest <= event.stream_position
        ]

    def _select_snapshots(
        self,
        originator_id: UUID | str,
        lowest: int,
        highest: int,
        desc: bool,
        limit: int,
    ) -> Sequence[StoredEvent]:
        """Select by the version in the metadata, which only ever grows."""
        selected: list[StoredEvent] = []
        name = mapping.stream_name(originator_id, for_snapshotting=True)
        # The latest snapshot is what is asked for most: read just that one.
        page = limit if desc and highest == sys.maxsize and not lowest else sys.maxsize
        for event in self._read_stream(name, None, desc=desc, limit=page):
            snapshot = mapping.stored_snapshot(originator_id, event)
            version = snapshot.originator_version
            if version < lowest if desc else version > highest:
                break
            if lowest <= version <= highest:
                selected.append(snapshot)
            if len(selected) == limit:
                break
        return selected

    def _read_stream(
        self, name: str, position: int | None, *, desc: bool, limit: int
    ) -> Iterator[RecordedEvent]:
        with client_errors(f"Reading stream {name!r}"):
            response = self.client.read_stream(
                name, stream_position=position, backwards=desc, limit=limit
            )
            try:
                with _whole(response) as events:
                    yield from events
            except (NotFound, StreamIsDeleted):
                return

    def _append(self, stored_events: Sequence[StoredEvent]) -> int | None:
        """Append and return the commit position, None if there was nothing to."""
        if not stored_events:
            return None
        originator_id = _single_originator_id(stored_events)
        if self.for_snapshotting:
            return self._append_snapshots(originator_id, stored_events)
        _check_contiguous(stored_events)
        first_version = stored_events[0].originator_version
        name = mapping.stream_name(originator_id)
        if first_version == 0:
            self._check_not_deleted(name)
        return self._append_events(
            name, first_version - 1 if first_version else None, stored_events
        )

    def _append_events(
        self,
        name: str,
        current_version: int | None,
        stored_events: Sequence[StoredEvent],
    ) -> int:
        # Made once: the client and this module may send them several times,
        # and the server recognises them by their IDs.
        events = [mapping.new_event(stored_event) for stored_event in stored_events]
        expected = "no events" if current_version is None else current_version
        subject = (
            f"Appending {len(events)} event(s) to stream {name!r}, "
            f"expected to be at version {expected}"
            if current_version is not None
            else f"Appending {len(events)} event(s) to new stream {name!r}"
        )
        with client_errors(subject):
            return self.client.append_events(
                name,
                current_version=(
                    StreamState.NO_STREAM
                    if current_version is None
                    else current_version
                ),
                events=events,
            )

    def _append_snapshots(
        self, originator_id: UUID | str, snapshots: Sequence[StoredEvent]
    ) -> int | None:
        """Append snapshots unless there is a later one, which has to stay the last."""
        latest = self._select_snapshots(originator_id, 0, sys.maxsize, True, 1)
        if latest and latest[0].originator_version > snapshots[0].originator_version:
            return None
        name = mapping.stream_name(originator_id, for_snapshotting=True)
        with client_errors(f"Appending to stream {name!r}"):
            return self.client.append_events(
                name,
                current_version=StreamState.ANY,
                events=[
                    mapping.new_event(snapshot, for_snapshotting=True)
                    for snapshot in snapshots
                ],
            )

    def _check_not_deleted(self, name: str) -> None:
        """
        Refuse to begin an aggregate in a stream that was soft-deleted.

        EventStoreDB would accept the events and go on counting where the
        deleted ones ended, so they would lie at other versions than they say.
        """
        try:
            with client_errors(f"Reading metadata of stream {name!r}"):
                events = self._read_metadata(name)
        except ProgrammingError as error:
            # A user who may not read metadata can still append.
            if _is_access_denied(error.__cause__):
                return
            raise
        if events and _truncate_before(events[0].data) >= _DELETED_TRUNCATE_BEFORE:
            msg = (
                f"Stream {name!r} was deleted and its numbering goes on: an aggregate "
                "with this ID cannot begin again at version 0"
            )
            raise IntegrityError(msg)

    def _read_metadata(self, name: str) -> Sequence[RecordedEvent]:
        try:
            # This call reconnects as appending does; read_stream would not.
            return self.client.get_stream(f"$${name}", backwards=True, limit=1)
        except NotFound:
            return ()


class EventStoreDBApplicationRecorder(
    EventStoreDBAggregateRecorder, ApplicationRecorder
):
    """
    Also reads all the application's events in the order they were recorded.

    A notification's ID is its event's commit position: IDs grow, with gaps.
    Snapshots, system events and streams that are not named as the
    application's aggregates are passed over.

    Args:
        client: Any esdbclient client; it stays the caller's to close.
        for_snapshotting: Whether these are snapshots.
        originator_id_type: ``UUID`` or ``str``, the type of the aggregates'
            IDs; None to have each event's class decide.
    """

    def __init__(
        self,
        client: EventStoreDBClient,
        for_snapshotting: bool = False,
        *,
        originator_id_type: type | None = None,
    ) -> None:
        super().__init__(client, for_snapshotting)
        self.originator_id_type = originator_id_type

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """
        Append the events of one aggregate, as the aggregate recorder does.

        Returns:
            For each event the commit position of the last one, which is all
            that EventStoreDB tells. When the last has been processed, so have
            the others.
        """
        commit_position = self._append(stored_events)
        if commit_position is None:
            return []
        return [commit_position] * len(stored_events)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """
        Read notifications in the order of their IDs.

        Args:
            start: Commit position of an event, to begin at; None for the first.
            limit: Most notifications to return.
            stop: Highest ID to return; None for up to the last.
            topics: Topics to return, matched exactly; empty for all.
            inclusive_of_start: Whether *start* itself may be returned.

        Raises:
            ProgrammingError: *start* is not the position of an event, and
                there are later ones.
            OperationalError: The read was cut short.
        """
        selected: list[Notification] = []
        if limit <= 0 or (stop is not None and start is not None and stop < start):
            return selected
        after = None if inclusive_of_start else start
        for event in self._read_all(start, topics, first_page=limit):
            assert event.commit_position is not None
            if stop is not None and event.commit_position > stop:
                break
            if event.commit_position == after:
                continue
            notification = mapping.notification(event, topics, self.originator_id_type)
            if notification is not None:
                selected.append(notification)
                if len(selected) == limit:
                    break
        return selected

    def max_notification_id(self) -> int | None:
        """Return the ID of the last notification, None if there is none."""
        for event in self._read_all(None, (), backwards=True, first_page=1):
            notification = mapping.notification(event, (), self.originator_id_type)
            if notification is not None:
                return notification.id
        return None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """
        Return an iterator of notifications that waits for new ones at the end.

        Args:
            gt: Highest ID to leave out; None for the first one on.
            topics: Topics to return, matched exactly; empty for all.

        Raises:
            ProgrammingError: *gt* is not the position of an event.
            OperationalError: The server could not be asked.
        """
        return EventStoreDBSubscription(recorder=self, gt=gt, topics=topics)

    def _read_all(
        self,
        start: int | None,
        topics: Sequence[str],
        *,
        first_page: int,
        backwards: bool = False,
    ) -> Iterator[RecordedEvent]:
        """Yield candidates page by page, each event once."""
        server_filter = mapping.server_filter(topics)
        # One more, since a forwards page begins with the last event before it.
        page = min(first_page + 1, _MAX_PAGE_SIZE)
        previous = None
        while True:
            received = 0
            with client_errors("Reading all streams"):
                response = self.client.read_all(
                    commit_position=start,
                    backwards=backwards,
                    limit=page,
                    **server_filter,
                )
                with _whole(response) as events:
                    for event in events:
                        received += 1
                        start = event.commit_position
                        if start != previous:
                            yield event
            if received < page:
                return
            previous = start
            page = min(page * 4, _MAX_PAGE_SIZE)


@contextmanager
def _whole(response: AbstractReadResponse) -> Iterator[Iterator[RecordedEvent]]:
    """
    Iterate over a read and make sure that it was not cut short.

    esdbclient ends the iteration quietly when its client is closed, or when it
    reconnects for another thread; only the call's status tells.

    Raises:
        OperationalError: The iteration ended, but not where the read ends.
    """

    def events() -> Iterator[RecordedEvent]:
        yield from response
        call = getattr(response, "_read_resps", None)
        if isinstance(call, grpc.Call) and call.code() is not grpc.StatusCode.OK:
            msg = "A read was cut short: the client was closed or reconnected"
            raise OperationalError(msg)

    try:
        yield events()
    finally:
        response.stop()


def _single_originator_id(stored_events: Sequence[StoredEvent]) -> UUID | str:
    originator_ids = {event.originator_id for event in stored_events}
    if len(originator_ids) > 1:
        msg = (
            f"Cannot save {len(originator_ids)} aggregates at once: EventStoreDB "
            "writes to one stream in a transaction; save them one by one"
        )
        raise ProgrammingError(msg)
    return originator_ids.pop()


def _check_contiguous(stored_events: Sequence[StoredEvent]) -> None:
    first = stored_events[0].originator_version
    for version, event in enumerate(stored_events, start=first):
        if event.originator_version != version:
            msg = (
                f"Events of {event.originator_id} have a gap: version "
                f"{event.originator_version} where {version} has to be"
            )
            raise IntegrityError(msg)
    if first < 0:
        msg = f"Events of {stored_events[0].originator_id} begin at version {first}"
        raise IntegrityError(msg)


def _truncate_before(metadata: bytes) -> int:
    try:
        value = json.loads(metadata).get("$tb", 0)
    except (ValueError, AttributeError):
        return 0
    return value if isinstance(value, int) else 0


def _is_access_denied(error: BaseException | None) -> bool:
    if isinstance(error, AccessDeniedError):
        return True
    call = error.args[0] if isinstance(error, GrpcError) and error.args else None
    return (
        isinstance(call, grpc.Call) and call.code() is grpc.StatusCode.PERMISSION_DENIED
    )
