"""Putting copies of another store's events into EventStoreDB."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from eventsourcing.persistence import (
    IntegrityError,
    Notification,
    PersistenceError,
    StoredEvent,
)

from eventsourcing_eventstoredb.copying.copies import Copy, CopyError, copy_id
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent, StreamState
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.recorders.recorded import recorded_notifications
from eventsourcing_eventstoredb.streams import appending, mapping
from eventsourcing_eventstoredb.streams.new_streams import check_no_stream
from eventsourcing_eventstoredb.streams.reading import read_stream

# Snapshots may be large, and few of them are needed at a time.
_SNAPSHOTS_PAGE = 20


class CopyTarget:
    """
    The streams of an application, as copies are put into them.

    Args:
        application: The application's name; two of them may share a store.
        recorder: Of its events. It stays the caller's to close.
        originator_id_type: ``UUID`` or ``str``, the type of the source's IDs.
    """

    def __init__(
        self,
        application: str,
        recorder: EventStoreDBApplicationRecorder,
        originator_id_type: type,
    ) -> None:
        self._application = application
        self._client = recorder.client
        self._check = recorder.check_notified
        self._marks_json = recorder.marks_json
        self.layout = recorder.layout
        # Reads all that may be a copy, whatever the classes say.
        self._recorder = EventStoreDBApplicationRecorder(
            recorder.client,
            originator_id_type=originator_id_type,
            layout=recorder.layout,
        )

    def copy_of(self, event: StoredEvent | Notification, first_version: int) -> Copy:
        """
        Return what an event of the source is to be here.

        Args:
            event: The event.
            first_version: The version of its aggregate's first event.
        """
        stream = self.layout.stream_name(event.originator_id)
        position = event.originator_version - first_version
        version = position + self.layout.first_version
        return self._copy(
            stream,
            version,
            position,
            event.topic,
            event.state,
            event.originator_version,
        )

    def copy_of_snapshot(self, snapshot: StoredEvent, first_version: int) -> Copy:
        """Return what a snapshot of the source is to be here."""
        stream = self.layout.snapshots_stream_name(snapshot.originator_id)
        source_version = snapshot.originator_version
        version = source_version - first_version + self.layout.first_version
        return self._copy(
            stream, version, version, snapshot.topic, snapshot.state, source_version
        )

    def copies(self) -> Generator[Copy, None, None]:
        """
        Yield the copies that are there now, in the order they were recorded.

        Memory is needed for a bounded number of events. What is no copy is left out.

        Raises:
            eventsourcing.persistence.PersistenceError: The store cannot be read.
        """
        for each in recorded_notifications(self._recorder):
            stream = self.layout.stream_name(each.originator_id)
            version = each.originator_version
            position = self.layout.position(version)
            found = self._copy(
                stream, version, position, each.topic, each.state, version
            )
            if str(found.id) == getattr(each, "event_id", None):
                yield found

    def append(self, copies: Sequence[Copy]) -> None:
        """
        Append events that follow each other in one stream, all of them or none.

        Those that another process has copied meanwhile are recognised.

        Raises:
            CopyError: Something else lies in their place, which is left as it is.
            eventsourcing.persistence.PersistenceError: The server refuses, or cannot
                be asked.
        """
        first = copies[0]
        try:
            self._check_notified(copies)
            if first.position == 0:
                check_no_stream(self._client, first.stream, len(copies))
            appended = appending.append(
                self._client,
                first.stream,
                first.position - 1 if first.position else StreamState.NO_STREAM,
                [
                    self._proposed(each, self.layout.metadata(each.version))
                    for each in copies
                ],
            )
        except IntegrityError as error:
            self._check_there(copies, error)
            return
        if appended.stream_position > copies[-1].position:
            msg = (
                f"Stream {first.stream!r} was deleted while it was copied: the copies "
                f"lie up to position {appended.stream_position} now; delete it again"
            )
            raise CopyError(msg)

    def _check_notified(self, copies: Sequence[Copy]) -> None:
        originator_id = copies[0].stream.removeprefix(self.layout.name_prefix)
        self._check(originator_id, {each.topic for each in copies})

    def check_appendable(self, first: Copy) -> None:
        """
        Check that a stream ends where an event is to follow; writes nothing.

        Raises:
            CopyError: It ends elsewhere.
        """
        try:
            self._check_notified([first])
            if first.position == 0:
                check_no_stream(self._client, first.stream, 1)
                return
        except IntegrityError as error:
            self._check_there([first], error)
            return
        last = read_stream(
            self._client, first.stream, None, desc=True, limit=1, from_leader=True
        )
        end = int(last[0].stream_revision) if last else -1
        if end != first.position - 1:
            self._check_there(
                [first], IntegrityError(f"the stream's last event is {end}")
            )

    def check_begins(self, first: Copy) -> None:
        """
        Check that an aggregate can be loaded from its first event on.

        The log has the events of streams that were deleted for some time.

        Raises:
            CopyError: The stream begins elsewhere, or is gone.
        """
        found = read_stream(
            self._client, first.stream, None, desc=False, limit=1, from_leader=True
        )
        if not found or found[0].id.string != str(first.id):
            msg = (
                f"EventStoreDB does not show {first} any more, which was copied: the "
                "stream was deleted or cut"
            )
            raise CopyError(msg)

    def _check_there(self, copies: Sequence[Copy], refused: IntegrityError) -> None:
        """Raise an error unless all copies are there."""
        first = copies[0]
        try:
            found = read_stream(
                self._client,
                first.stream,
                first.position,
                desc=False,
                limit=len(copies),
                from_leader=True,
            )
        except PersistenceError:
            found = []
        for place, copied in enumerate(copies):
            if place >= len(found):
                msg = f"Cannot copy {copied}: {refused}"
                raise CopyError(msg) from refused
            if found[place].id.string != str(copied.id):
                msg = (
                    f"There is another event in EventStoreDB than {copied}, with "
                    f"topic {found[place].metadata['type']!r} and ID "
                    f"{found[place].id.string}; nothing was overwritten"
                )
                raise CopyError(msg) from refused

    def snapshots(self, stream: str) -> Iterator[tuple[Copy, bool]]:
        """
        Yield the snapshots of a stream by version, and whether each is a copy.

        Raises:
            eventsourcing.persistence.PersistenceError: The store cannot be read.
        """
        position: int | None = None
        while True:
            page = read_stream(
                self._client,
                stream,
                position,
                desc=False,
                limit=_SNAPSHOTS_PAGE,
                from_leader=True,
            )
            for each in page:
                version = mapping.version_in_metadata(each.custom_metadata)
                if version is None:
                    continue
                found = self._copy(
                    stream, version, version, each.metadata["type"], each.data, version
                )
                yield found, str(found.id) == each.id.string
            if len(page) < _SNAPSHOTS_PAGE:
                return
            position = int(page[-1].stream_revision) + 1

    def append_snapshot(self, snapshot: Copy) -> None:
        """
        Append a snapshot behind those that are there, of which all have lower versions.

        Raises:
            CopyError: Another process has taken one meanwhile.
            eventsourcing.persistence.PersistenceError: The server refuses, or cannot
                be asked.
        """
        last = read_stream(
            self._client, snapshot.stream, None, desc=True, limit=1, from_leader=True
        )
        expected = int(last[0].stream_revision) if last else StreamState.NO_STREAM
        event = self._proposed(snapshot, mapping.version_metadata(snapshot.version))
        try:
            appending.append(self._client, snapshot.stream, expected, [event])
        except IntegrityError as error:
            end = appending.other_position(error)
            if last or end is None:
                msg = f"Cannot copy the snapshot of {snapshot}: {error}"
                raise CopyError(msg) from error
            # The stream was deleted, or all in it was truncated.
            appending.append(self._client, snapshot.stream, end, [event])

    def _copy(
        self,
        stream: str,
        version: int,
        position: int,
        topic: str,
        state: bytes,
        source_version: int,
    ) -> Copy:
        # Drivers of databases have other types for bytes.
        state = bytes(state)
        identity = copy_id(self._application, stream, position, topic, state)
        return Copy(stream, version, position, topic, state, source_version, identity)

    def _proposed(self, copied: Copy, metadata: bytes) -> ProposedEvent:
        event = StoredEvent(copied.stream, copied.version, copied.topic, copied.state)
        return mapping.proposed_event(
            event, metadata, marks_json=self._marks_json, event_id=copied.id
        )
