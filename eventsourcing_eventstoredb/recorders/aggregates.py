"""The recorder of aggregates' events and of their snapshots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import AggregateRecorder, StoredEvent

from eventsourcing_eventstoredb import deadlines, metadata, save_observers
from eventsourcing_eventstoredb.metadata import MetadataProvider
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.refused_saves import check_not_refused
from eventsourcing_eventstoredb.snapshots import snapshot_streams
from eventsourcing_eventstoredb.streams import appending, mapping
from eventsourcing_eventstoredb.streams.mapping import Layout
from eventsourcing_eventstoredb.streams.max_count import MaxCount
from eventsourcing_eventstoredb.streams.new_streams import begin
from eventsourcing_eventstoredb.streams.reading import read_stream
from eventsourcing_eventstoredb.streams.used_names import (
    note_events,
    note_nothing_found,
)


class EventStoreDBAggregateRecorder(AggregateRecorder):
    """
    Keeps each aggregate's events, or its snapshots, in a stream of its own.

    Aggregates begin at version 0, as EventStoreDB's streams do, unless *layout*
    says otherwise. One call writes to one stream, in one transaction.

    Args:
        client: Any client of esdbclient or kurrentdbclient; it stays the caller's to
            close.
        for_snapshotting: Whether these are snapshots, for which versions have
            gaps and a conflict is impossible.
        layout: How the aggregates lie in streams.
        marks_json: Whether events whose data are JSON get the content type
            ``application/json``, else all are ``application/octet-stream``. What is
            read does not depend on it.
        metadata_provider: Called for each save, adds to the metadata of events; None if
            there is none.
        snapshot_max_count: How many snapshots an aggregate's stream keeps, at least 1;
            None to leave that to the stream's metadata.
    """

    def __init__(
        self,
        client: EventStoreDBClient,
        for_snapshotting: bool = False,
        *,
        layout: Layout | None = None,
        marks_json: bool = True,
        metadata_provider: MetadataProvider | None = None,
        snapshot_max_count: int | None = None,
    ) -> None:
        self.client = client
        self.for_snapshotting = for_snapshotting
        self.layout = layout or Layout()
        self.marks_json = marks_json
        self.metadata_provider = metadata_provider
        self._max_count = (
            None if snapshot_max_count is None else MaxCount(client, snapshot_max_count)
        )

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """
        Append the events of one aggregate; all of them or none.

        Returns:
            None: an aggregate's sequence has no notification IDs.

        Raises:
            IntegrityError: The stream is not at the version before the first
                event's, was deleted, or the versions have a gap. Nothing was written,
                unless the message says where it lies now: in a stream that was
                deleted, which this process did not know. Saving again is refused.
            DataError: The server does not take so much at once, or more is said about
                the events than their metadata may have.
            ProgrammingError: The events are of several aggregates, or of one whose
                events would be hidden from notifications, or the server refuses, or
                what is said about them is no metadata. Nothing was written.
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
            return snapshot_streams.select(
                self.client,
                originator_id,
                self.layout.snapshots_stream_name(originator_id),
                lowest=lowest,
                highest=highest,
                desc=desc,
                limit=wanted,
            )
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
        found = read_stream(
            self.client,
            name,
            position,
            desc=desc,
            limit=min(limit, last - first + 1),
        )
        if found:
            note_events(self.client, originator_id, name)
        elif position is None and not desc:
            # Who looks for all of an aggregate may be about to begin it.
            note_nothing_found(self.client, originator_id, name)
        return [
            mapping.stored_event(originator_id, recorded, layout)
            for recorded in found
            if first <= recorded.stream_revision
        ]

    def _append(self, stored_events: Sequence[StoredEvent]) -> int | None:
        """Append and return the commit position, None if there was nothing to."""
        if not stored_events:
            return None
        check_not_refused()
        # For what is read before, too.
        token = deadlines.limit(appending.deadline(self.client))
        try:
            if not save_observers.are_observed():
                return self._append_in_time(stored_events)
            with save_observers.observed(self._save(stored_events)):
                return self._append_in_time(stored_events)
        finally:
            deadlines.end_limit(token)

    def _save(self, stored_events: Sequence[StoredEvent]) -> save_observers.Save:
        layout, originator_id = self.layout, stored_events[0].originator_id
        return save_observers.Save(
            layout.snapshots_stream_name(originator_id)
            if self.for_snapshotting
            else layout.stream_name(originator_id),
            len(stored_events),
            self.for_snapshotting,
        )

    def _append_in_time(self, stored_events: Sequence[StoredEvent]) -> int | None:
        originator_id = appending.single_originator_id(stored_events)
        if self.for_snapshotting:
            return self._append_snapshots(originator_id, stored_events)
        layout = self.layout
        appending.check_versions(stored_events, layout.first_version)
        name = layout.stream_name(originator_id)
        appending.check_not_hidden(name)
        said = metadata.encoded(metadata.collected(self.metadata_provider))
        # Made once: they may be sent several times, and the server recognises
        # them by their IDs.
        events = [
            mapping.proposed_event(
                event,
                layout.metadata(event.originator_version, said),
                marks_json=self.marks_json,
            )
            for event in stored_events
        ]
        position = layout.position(stored_events[0].originator_version)
        appended = (
            appending.append(self.client, name, position - 1, events)
            if position
            else begin(self.client, originator_id, name, events, layout.first_version)
        )
        return appended.commit_position

    def _append_snapshots(
        self, originator_id: UUID | str, snapshots: Sequence[StoredEvent]
    ) -> int | None:
        name = self.layout.snapshots_stream_name(originator_id)
        position = snapshot_streams.append(
            self.client, name, snapshots, marks_json=self.marks_json
        )
        if position is not None and self._max_count is not None:
            # Behind it: the snapshot is taken, whatever becomes of the metadata.
            self._max_count.see_to(name)
        return position
