"""Recorders of stored events in EventStoreDB streams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from esdbclient import EventStoreDBClient, StreamState
from esdbclient.exceptions import StreamIsDeleted
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Notification,
    StoredEvent,
)

from eventsourcing_eventstoredb import appending, mapping, reading
from eventsourcing_eventstoredb.all_streams import AllStreams
from eventsourcing_eventstoredb.exceptions import client_errors
from eventsourcing_eventstoredb.mapping import Layout
from eventsourcing_eventstoredb.retries import with_retries
from eventsourcing_eventstoredb.selection import Selection
from eventsourcing_eventstoredb.subscriptions import (
    WATCHDOG_INTERVAL,
    EventStoreDBSubscription,
)

# Seconds for one read with its retries. A frozen server must not hold a thread
# for ever, and the longest stream has to fit in.
_READ_DEADLINE = 60.0


class EventStoreDBAggregateRecorder(AggregateRecorder):
    """
    Keeps each aggregate's events, or its snapshots, in a stream of its own.

    Aggregates begin at version 0, as EventStoreDB's streams do, unless *layout*
    says otherwise. One call writes to one stream, in one transaction.

    Args:
        client: Any esdbclient client; it stays the caller's to close.
        for_snapshotting: Whether these are snapshots, for which versions have
            gaps and a conflict is impossible.
        layout: How the aggregates lie in streams.
    """

    def __init__(
        self,
        client: EventStoreDBClient,
        for_snapshotting: bool = False,
        *,
        layout: Layout | None = None,
    ) -> None:
        self.client = client
        self.for_snapshotting = for_snapshotting
        self.layout = layout or Layout()

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
            DataError: The server does not take so much at once.
            ProgrammingError: The events are of several aggregates, or the server
                refuses. Nothing was written.
            OperationalError: The server could not be asked, or did not answer
                in time; then the events may have been written.
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
            DataError: An event's metadata has not the version it should have.
            OperationalError: The read was cut short. Part of a stream is never
                returned.
        """
        lowest = 0 if gt is None else max(0, gt + 1)
        highest = sys.maxsize if lte is None else lte
        wanted = sys.maxsize if limit is None else limit
        if wanted <= 0 or highest < max(lowest, 0):
            return []
        if self.for_snapshotting:
            return self._select_snapshots(originator_id, lowest, highest, desc, wanted)
        return self._select_events(originator_id, lowest, highest, desc, wanted)

    def _select_events(
        self,
        originator_id: UUID | str,
        lowest: int,
        highest: int,
        desc: bool,
        limit: int,
    ) -> list[StoredEvent]:
        layout = self.layout
        first = max(layout.position(lowest), 0)
        last = layout.position(highest)
        if last < first:
            return []
        position = None
        if desc and highest != sys.maxsize:
            # A position past the end reads from the end.
            position = last
        elif not desc and first:
            position = first
        name = layout.stream_name(originator_id)
        return [
            mapping.stored_event(originator_id, recorded, layout)
            for recorded in self._read_stream(
                name, position, desc=desc, limit=min(limit, last - first + 1)
            )
            if first <= recorded.stream_revision
        ]

    def _select_snapshots(
        self,
        originator_id: UUID | str,
        lowest: int,
        highest: int,
        desc: bool,
        limit: int,
    ) -> list[StoredEvent]:
        """Select by the version in the metadata, which only ever grows."""
        selected: list[StoredEvent] = []
        name = self.layout.snapshots_stream_name(originator_id)
        # The latest snapshot is what is asked for most: read just that one.
        page = limit if desc and highest == sys.maxsize and not lowest else sys.maxsize
        for recorded in self._read_stream(name, None, desc=desc, limit=page):
            snapshot = mapping.stored_snapshot(originator_id, recorded)
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
    ) -> list[Any]:
        """Return recorded events in the protocol's form; all that were asked for."""
        request = reading.stream_request(name, position, backwards=desc, limit=limit)

        def attempt(seconds: float) -> list[Any]:
            with client_errors(f"Reading stream {name!r}"):
                try:
                    return [
                        message.event.event
                        for message in reading.read_messages(
                            self.client, request, seconds
                        )
                        if message.HasField("event")
                    ]
                except StreamIsDeleted:
                    return []

        return with_retries(self.client, attempt, _READ_DEADLINE)

    def _append(self, stored_events: Sequence[StoredEvent]) -> int | None:
        """Append and return the commit position, None if there was nothing to."""
        if not stored_events:
            return None
        originator_id = appending.single_originator_id(stored_events)
        if self.for_snapshotting:
            return self._append_snapshots(originator_id, stored_events)
        layout = self.layout
        appending.check_versions(stored_events, layout.first_version)
        name = layout.stream_name(originator_id)
        current_version: int | StreamState = (
            layout.position(stored_events[0].originator_version) - 1
        )
        if current_version == -1:
            current_version = StreamState.NO_STREAM
            appending.check_not_deleted(self.client, name)
        # Made once: they may be sent several times, and the server recognises
        # them by their IDs.
        events = [
            mapping.new_event(event, layout.metadata(event.originator_version))
            for event in stored_events
        ]
        return appending.append(self.client, name, current_version, events)

    def _append_snapshots(
        self, originator_id: UUID | str, snapshots: Sequence[StoredEvent]
    ) -> int | None:
        """Append snapshots unless there is a later one, which has to stay the last."""
        latest = self._select_snapshots(originator_id, 0, sys.maxsize, True, 1)
        if latest and latest[0].originator_version > snapshots[0].originator_version:
            return None
        name = self.layout.snapshots_stream_name(originator_id)
        events = [
            mapping.new_event(
                snapshot, mapping.version_metadata(snapshot.originator_version)
            )
            for snapshot in snapshots
        ]
        return appending.append(self.client, name, StreamState.ANY, events)


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
        layout: How the aggregates lie in streams. With a prefix only streams
            that have it are the application's.
        watchdog_interval: Seconds of silence after which a subscription asks
            the server whether it is alive.
    """

    def __init__(
        self,
        client: EventStoreDBClient,
        for_snapshotting: bool = False,
        *,
        originator_id_type: type | None = None,
        layout: Layout | None = None,
        watchdog_interval: float = WATCHDOG_INTERVAL,
    ) -> None:
        super().__init__(client, for_snapshotting, layout=layout)
        self.originator_id_type = originator_id_type
        self.watchdog_interval = watchdog_interval

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
            DataError: An event's metadata has not the version it should have.
            OperationalError: The read was cut short.
        """
        if limit <= 0 or (stop is not None and start is not None and stop < start):
            return []
        after = None if inclusive_of_start else start

        def attempt(seconds: float) -> list[Notification]:
            selected: list[Notification] = []
            found = self.all_streams(topics).notifications(
                start, first_page=limit, timeout=seconds
            )
            for notification in found:
                if stop is not None and notification.id > stop:
                    break
                if notification.id != after:
                    selected.append(notification)
                    if len(selected) == limit:
                        break
            return selected

        return with_retries(self.client, attempt, _READ_DEADLINE)

    def max_notification_id(self) -> int | None:
        """Return the ID of the last notification, None if there is none."""

        def attempt(seconds: float) -> int | None:
            found = self.all_streams().notifications(
                None, first_page=1, backwards=True, timeout=seconds
            )
            return next((notification.id for notification in found), None)

        return with_retries(self.client, attempt, _READ_DEADLINE)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> EventStoreDBSubscription:
        """
        Return an iterator of notifications that waits for new ones at the end.

        Args:
            gt: Highest ID to leave out; None for the first one on.
            topics: Topics to return, matched exactly; empty for all.

        Raises:
            UnknownPositionError: The store does not have the position *gt*.
            ProgrammingError: *gt* is not the position of an event, or the server
                refuses.
            OperationalError: The server could not be asked.
        """
        return EventStoreDBSubscription(
            recorder=self,
            gt=gt,
            topics=topics,
            watchdog_interval=self.watchdog_interval,
        )

    def passed_over_position(
        self, after: int | None, topics: Sequence[str] = ()
    ) -> int | None:
        """
        Return up to where a projection that is idle has nothing left to process.

        Args:
            after: Position of the last event that it processed; None for none.
            topics: Topics that it processes, matched exactly; empty for all.

        Returns:
            The position of an event that exists, beyond *after*, up to which
            nothing is the projection's. None if there is none, or if there is
            something to process.

        Raises:
            ProgrammingError: *after* is not the position of an event.
            OperationalError: A read was cut short.
        """
        return with_retries(
            self.client,
            lambda seconds: self.all_streams(topics).passed_over_position(
                after, seconds
            ),
            _READ_DEADLINE,
        )

    def all_streams(self, topics: Sequence[str] = ()) -> AllStreams:
        """Return the log of all streams, for the application's events of *topics*."""
        selection = Selection(self.layout, topics, self.originator_id_type)
        return AllStreams(self.client, selection)
