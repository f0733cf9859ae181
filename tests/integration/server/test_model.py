"""
Drives the server against a small model of what EventStoreDB does.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    NotFound,
    StreamIsDeleted,
    StreamState,
    WrongCurrentVersion,
)

STREAMS = st.sampled_from(["dog", "cat", "größe"])
DELETED = 2**63 - 1

NO_STREAM, ANY, EXISTS = StreamState.NO_STREAM, StreamState.ANY, StreamState.EXISTS
Expected = int | StreamState
EXPECTATIONS = st.sampled_from([NO_STREAM, ANY, EXISTS, "current", 0, 1, 7])


@dataclass
class ModelStream:
    """A stream as the model knows it."""

    ids: list[uuid.UUID] = field(default_factory=list)
    truncate_before: int = 0
    max_count: int | None = None
    has_metadata: bool = False
    is_tombstoned: bool = False

    @property
    def current(self) -> int:
        return len(self.ids) - 1

    @property
    def is_deleted(self) -> bool:
        return self.truncate_before == DELETED

    def check(self, expected: Expected, ids: list[uuid.UUID]) -> list[int] | None:
        """Tell which numbers the events have already; None when they are new."""
        if self.is_tombstoned:
            raise StreamIsDeleted
        if expected is EXISTS:
            if self.is_deleted:
                raise StreamIsDeleted
            if self.current < 0 and not self.has_metadata:
                raise WrongCurrentVersion
        if expected in (ANY, EXISTS):
            known = [self.ids.index(one) for one in ids if one in self.ids]
            if not ids or ids[0] not in self.ids:
                return None
            if len(known) < len(ids):
                raise WrongCurrentVersion
            return known
        number = -1 if expected is NO_STREAM else int(expected)
        if number > self.current:
            raise WrongCurrentVersion
        if number == self.current:
            return None
        return self.check_earlier(number, ids)

    def check_earlier(self, number: int, ids: list[uuid.UUID]) -> list[int] | None:
        following = self.ids[number + 1 : number + 1 + len(ids)]
        if ids and following == ids:
            return list(range(number + 1, number + 1 + len(ids)))
        differs_at_once = not following[:1] or not ids or following[0] != ids[0]
        if ids and differs_at_once and number < 0 and self.is_deleted:
            return None
        raise WrongCurrentVersion

    def write(self, ids: list[uuid.UUID]) -> None:
        if self.is_deleted:
            self.truncate_before = len(self.ids)
        self.ids += ids

    def visible(self) -> list[uuid.UUID]:
        if self.is_tombstoned:
            raise StreamIsDeleted
        if not self.ids or self.is_deleted:
            raise NotFound
        first = self.truncate_before
        if self.max_count is not None:
            first = max(first, len(self.ids) - self.max_count)
        return self.ids[first:]


class StreamsMachine(RuleBasedStateMachine):
    """
    Does the same to the server and to the model, and compares.
    """

    def __init__(self) -> None:
        super().__init__()
        self.server = EmbeddedServer().start()
        self.client = EventStoreDBClient(self.server.uri)
        self.subscription = self.client.subscribe_to_all(timeout=60)
        self.streams: dict[str, ModelStream] = {}
        self.positions: dict[uuid.UUID, int] = {}
        self.log: list[uuid.UUID] = []
        self.received: list[uuid.UUID] = []
        self.appends: list[tuple[str, Expected, list[NewEvent]]] = []

    def teardown(self) -> None:
        self.subscription.stop()
        self.client.close()
        self.server.stop()

    def model(self, name: str) -> ModelStream:
        return self.streams.setdefault(name, ModelStream())

    def resolve(self, name: str, expected: Expected | str) -> Expected:
        if expected != "current":
            return expected
        current = self.model(name).current
        return NO_STREAM if current < 0 else current

    @rule(name=STREAMS, expected=EXPECTATIONS, count=st.integers(0, 4))
    def append(self, name: str, expected: Expected | str, count: int) -> None:
        events = [NewEvent("T", b"{}") for _ in range(count)]
        self.do_append(name, self.resolve(name, expected), events)

    @precondition(lambda self: self.appends)
    @rule(data=st.data(), extra=st.booleans())
    def append_again(self, data: st.DataObject, extra: bool) -> None:
        name, expected, events = data.draw(st.sampled_from(self.appends))
        self.do_append(name, expected, events + extra * [NewEvent("T", b"{}")])

    def do_append(self, name: str, expected: Expected, events: list[NewEvent]) -> None:
        ids = [event.id for event in events]
        stream = self.model(name)

        def append() -> int:
            return self.client.append_events(
                name, current_version=expected, events=events
            )

        refusal = raised_by(lambda: stream.check(expected, ids))
        if refusal is not None:
            assert raised_by(append) is refusal
            return
        known = stream.check(expected, ids)
        position = append()
        if known is None:
            stream.write(ids)
            self.log += ids
            self.appends.append((name, expected, events))
            if ids:
                self.positions[ids[-1]] = position
        elif known[-1] >= len(stream.ids) - len(self.shown(name)):
            # What does not show any more has no position to be told.
            assert position == self.positions.get(ids[-1], position)

    def shown(self, name: str) -> list[uuid.UUID]:
        try:
            return self.model(name).visible()
        except (NotFound, StreamIsDeleted):
            return []

    @rule(name=STREAMS, expected=EXPECTATIONS)
    def delete(self, name: str, expected: Expected | str) -> None:
        expected = self.resolve(name, expected)
        stream = self.model(name)

        def delete() -> object:
            return self.client.delete_stream(name, current_version=expected)

        error = self.deletion_error(stream, expected)
        if error is None and stream.current < 0 and not stream.has_metadata:
            error = NotFound
        assert raised_by(delete) is error
        if error is None:
            stream.truncate_before, stream.max_count = DELETED, None
            stream.has_metadata = True

    @rule(name=STREAMS, expected=EXPECTATIONS, sure=st.integers(0, 4))
    def tombstone(self, name: str, expected: Expected | str, sure: int) -> None:
        if sure:
            return  # Seldom: nothing much can be done with the stream afterwards.
        expected = self.resolve(name, expected)
        stream = self.model(name)

        def tombstone() -> object:
            return self.client.tombstone_stream(name, current_version=expected)

        error = self.deletion_error(stream, expected)
        assert raised_by(tombstone) is error
        if error is None:
            stream.is_tombstoned = True

    @staticmethod
    def deletion_error(stream: ModelStream, expected: Expected) -> type | None:
        try:
            stream.check(expected, [uuid.uuid4()])
        except StreamIsDeleted:
            return StreamIsDeleted
        except WrongCurrentVersion:
            return NotFound if stream.current < 0 else WrongCurrentVersion
        return None

    @rule(name=STREAMS, max_count=st.integers(1, 4))
    def limit(self, name: str, max_count: int) -> None:
        stream = self.model(name)
        if stream.is_tombstoned:
            return
        self.client.set_stream_metadata(name, metadata={"$maxCount": max_count})
        if stream.is_deleted:
            stream.truncate_before = len(stream.ids)
        else:
            stream.truncate_before = 0
        stream.max_count, stream.has_metadata = max_count, True

    @rule(
        name=STREAMS,
        position=st.one_of(st.none(), st.integers(0, 8)),
        backwards=st.booleans(),
        limit=st.integers(1, 5),
    )
    def read(
        self, name: str, position: int | None, backwards: bool, limit: int
    ) -> None:
        def read() -> list[uuid.UUID]:
            events = self.client.get_stream(
                name, stream_position=position, backwards=backwards, limit=limit
            )
            return [event.id for event in events]

        stream = self.model(name)
        refusal = raised_by(stream.visible)
        if refusal is not None:
            assert raised_by(read) is refusal
            return
        shown = stream.visible()
        first = len(stream.ids) - len(shown)
        numbers = range(first, len(stream.ids))
        if position is not None:
            numbers = [
                n for n in numbers if (n <= position if backwards else n >= position)
            ]
        ordered = list(reversed(numbers)) if backwards else list(numbers)
        assert read() == [stream.ids[number] for number in ordered[:limit]]

    @invariant()
    def the_log_has_everything_in_order(self) -> None:
        events = list(self.client.read_all())

        assert [event.id for event in events] == self.log
        positions = [event.commit_position for event in events]
        assert positions == sorted(set(positions))

    @invariant()
    def the_subscription_delivers_everything_in_order(self) -> None:
        while len(self.received) < len(self.log):
            self.received.append(next(self.subscription).id)

        assert self.received == self.log


def raised_by(call) -> type | None:
    try:
        call()
    except (NotFound, StreamIsDeleted, WrongCurrentVersion) as error:
        return type(error)
    return None


StreamsMachine.TestCase.settings = settings(stateful_step_count=30, database=None)
TestStreams = StreamsMachine.TestCase
