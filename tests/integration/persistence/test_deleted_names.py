"""Walks through what becomes of aggregates whose IDs were made from names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.streams import new_streams, used_names
from tests.support.client_library import NewEvent, StreamState

PROCESSES = st.integers(0, 1)
STREAMS = st.integers(0, 1)
COUNTS = st.integers(1, 2)


@dataclass
class Stream:
    """
    A stream as the model knows it.

    Attributes:
        last: Position of its last event, -1 for none.
        first: Of the first one that is shown.
    """

    originator_id: UUID | str
    last: int = -1
    first: int = 0
    is_deleted: bool = False
    is_tombstoned: bool = False

    @property
    def shown(self) -> list[int]:
        if self.is_deleted or self.is_tombstoned:
            return []
        return list(range(self.first, self.last + 1))

    def revive(self) -> None:
        if self.is_deleted:
            self.is_deleted, self.first = False, self.last + 1

    def append(self, count: int) -> None:
        self.revive()
        self.last += count


@dataclass
class Process:
    """A process, and what it knows: its client, since that is what remembers."""

    recorder: EventStoreDBApplicationRecorder
    has_saved: bool = False
    seen: set[int] = field(default_factory=set)


class DeletedNames(RuleBasedStateMachine):
    """Two processes, and a client that deletes and writes past them."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.clients = [Client(parse_connection(uri)) for _ in range(3)]
        self.processes = [
            Process(EventStoreDBApplicationRecorder(client, originator_id_type=str))
            for client in self.clients[:2]
        ]
        self.admin = self.clients[2]
        name = str(uuid4())
        self.streams = [Stream(uuid5(NAMESPACE_URL, name)), Stream(f"{name}-dog")]

    @initialize(
        have_saved=st.tuples(st.booleans(), st.booleans()),
        states=st.tuples(*[st.sampled_from(["unused", "used", "deleted"])] * 2),
    )
    def begin_with(self, have_saved: tuple[bool, ...], states: tuple[str, ...]) -> None:
        for process, has_saved in zip(self.processes, have_saved, strict=True):
            process.has_saved = has_saved
            if has_saved:
                self._insert(process, Stream(uuid4()), 0, 1)
        for stream, state in enumerate(states):
            if state != "unused":
                self.write(stream, 2)
            if state == "deleted":
                self.delete(stream)

    @rule(process=PROCESSES, stream=STREAMS, count=COUNTS)
    def get_or_begin(self, process: int, stream: int, count: int) -> None:
        self.get(process, stream)
        if not self.streams[stream].shown:
            self.begin(process, stream, count)

    @rule(process=PROCESSES, stream=STREAMS, count=COUNTS)
    def get_and_begin_when_it_was_deleted(
        self, process: int, stream: int, count: int
    ) -> None:
        self.get(process, stream)
        self.delete(stream)
        self.begin(process, stream, count)

    @rule(process=PROCESSES, stream=STREAMS, count=COUNTS)
    def begin(self, process: int, stream: int, count: int) -> None:
        saver, target = self.processes[process], self.streams[stream]
        knows = stream in saver.seen or not saver.has_saved
        saver.has_saved = True
        saver.seen.add(stream)
        if target.last < 0 and not target.is_tombstoned:
            target.append(count)
            self._insert(saver, target, 0, count)
            return
        with pytest.raises(IntegrityError) as raised:
            self._insert(saver, target, 0, count)
        if target.is_deleted and not target.is_tombstoned and not knows:
            place = f"at position {target.last + 1} on"
            target.append(count)
        else:
            place = ""
        # Without a message about it, nothing was written: the end looks.
        assert ("lie" in str(raised.value)) is bool(place)
        assert place in str(raised.value)

    @precondition(lambda self: any(map(DeletedNames.is_unused, self.streams)))
    @rule(process=PROCESSES, count=COUNTS, before=COUNTS, data=st.data())
    def begin_while_others_begin_and_delete(
        self, process: int, count: int, before: int, data: st.DataObject
    ) -> None:
        """Between a question, if there is one, and the append."""
        unused = [n for n, each in enumerate(self.streams) if self.is_unused(each)]
        stream = data.draw(st.sampled_from(unused))
        saver, target = self.processes[process], self.streams[stream]
        saver.has_saved = True
        saver.seen.add(stream)
        append = new_streams.append

        def append_late(*arguments: Any) -> Any:
            self.write(stream, before)
            self.delete(stream)
            return append(*arguments)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(new_streams, "append", append_late)
            with pytest.raises(IntegrityError, match=f"position {before} on, where"):
                self._insert(saver, target, 0, count)
        target.append(count)

    @rule(process=PROCESSES, stream=STREAMS)
    def get(self, process: int, stream: int) -> None:
        reader, target = self.processes[process], self.streams[stream]

        found = reader.recorder.select_events(target.originator_id)

        assert [each.originator_version for each in found] == target.shown
        if found or (
            reader.has_saved and target.last >= 0 and not target.is_tombstoned
        ):
            reader.seen.add(stream)

    @precondition(lambda self: any(each.shown for each in self.streams))
    @rule(process=PROCESSES, data=st.data(), is_stale=st.booleans())
    def go_on(self, process: int, data: st.DataObject, is_stale: bool) -> None:
        shown = [n for n, each in enumerate(self.streams) if each.shown]
        stream = data.draw(st.sampled_from(shown))
        saver, target = self.processes[process], self.streams[stream]
        saver.has_saved = True
        target.append(1)
        self._insert(saver, target, target.last, 1)
        if is_stale:
            # Another thread has loaded it before that.
            with pytest.raises(IntegrityError, match="expected to be at version"):
                self._insert(saver, target, target.last, 1)

    @rule(stream=STREAMS)
    def delete(self, stream: int) -> None:
        target = self.streams[stream]
        if target.last >= 0 and not target.is_tombstoned:
            self.admin.delete_stream(
                self._name(target), current_version=StreamState.ANY
            )
            target.is_deleted = True

    @rule(stream=STREAMS, sure=st.integers(0, 3))
    def tombstone(self, stream: int, sure: int) -> None:
        # Nothing comes after it, so it comes less often.
        target = self.streams[stream]
        if not sure and not target.is_tombstoned:
            self.admin.tombstone_stream(
                self._name(target), current_version=StreamState.ANY
            )
            target.is_tombstoned = True

    @rule(stream=STREAMS, count=COUNTS)
    def write(self, stream: int, count: int) -> None:
        target = self.streams[stream]
        if not target.is_tombstoned:
            target.append(count)
            self.admin.append_events(
                self._name(target),
                current_version=StreamState.ANY,
                events=[NewEvent("topic", b"{}") for _ in range(count)],
            )

    @rule(stream=STREAMS)
    def set_metadata(self, stream: int) -> None:
        target = self.streams[stream]
        if not target.is_tombstoned:
            if target.is_deleted:
                target.revive()
            else:
                # They take the place of those that hide events.
                target.first = 0
            self.admin.set_stream_metadata(
                self._name(target), metadata={"owner": "Anna"}
            )

    def teardown(self) -> None:
        """Look for each event once, at its place, whether it is shown or not."""
        try:
            witness = EventStoreDBApplicationRecorder(
                self.admin, originator_id_type=str
            )
            recorded = witness.select_notifications(None, 1_000_000)
            for target in self.streams:
                found = [
                    each.originator_version
                    for each in recorded
                    if each.originator_id == str(target.originator_id)
                ]
                assert found == list(range(target.last + 1))
        finally:
            for client in self.clients:
                client.close()

    @staticmethod
    def is_unused(target: Stream) -> bool:
        return target.last < 0 and not target.is_tombstoned

    def _insert(self, saver: Process, target: Stream, first: int, count: int) -> None:
        saver.recorder.insert_events(
            [
                StoredEvent(target.originator_id, first + number, "topic", b"{}")
                for number in range(count)
            ]
        )

    def _name(self, target: Stream) -> str:
        return self.processes[0].recorder.layout.stream_name(target.originator_id)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions be answered on a busy machine, too."""
    monkeypatch.setattr(used_names, "ASK_SECONDS", 30.0)


@pytest.mark.usefixtures("patience")
@pytest.mark.own_store("looks at all that was written")
def test_no_first_event_is_numbered_beyond_the_first_version_without_a_word(
    server: EmbeddedServer,
) -> None:
    """
    Nothing is lost or doubled either, and who has looked writes nothing by mistake.
    """
    run_state_machine_as_test(
        lambda: DeletedNames(server.uri),
        settings=settings(stateful_step_count=15),
    )
