"""What the log knows of its streams by heart is what its database says."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.server.engine.appends import Append, Writer
from eventsourcing_eventstoredb.server.errors import ProtocolError
from eventsourcing_eventstoredb.server.storage import heads
from eventsourcing_eventstoredb.server.storage import names as stream_names
from eventsourcing_eventstoredb.server.storage.log import Log, Transaction
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    NewEvent,
    StreamState,
)

NAMES = ("ant", "bee", "$$ant", "$$bee", "$$$$ant", "$%", "$")
names = st.sampled_from(NAMES)
most_heads = st.sampled_from([1, 2, 100])
# Events for streams, each with whether the stream is looked for before, and whether it
# may be new.
works = st.lists(st.tuples(names, st.booleans(), st.booleans()), max_size=6)


class UndoneError(Exception):
    """Undoes a transaction."""


@contextmanager
def knowing(most: int) -> Iterator[None]:
    """Have the block's logs know so much by heart."""
    with (
        patch.object(heads, "MOST_HEADS", most),
        patch.object(stream_names, "MOST_UNINDEXED", most),
        patch.object(stream_names, "MOST_KNOWN", most),
    ):
        yield


def new_event() -> NewEvent:
    return NewEvent(uuid.uuid4().bytes, "T", True, b"{}")


def write(transaction: Transaction, name: str, number: int, may_be_new: bool) -> None:
    """Write an event with this number, as if the stream were new if it may be."""
    begun = transaction.begin(name, [new_event()]) if may_be_new else None
    assert (begun is None) == (number > 0 or not may_be_new)
    if begun is None:
        transaction.write(name, number, [new_event()])


@given(
    most=most_heads,
    transactions=st.lists(st.tuples(works, st.booleans()), max_size=8),
)
def test_a_transaction_finds_each_stream_where_it_was_left(
    most: int, transactions: list[tuple[list[tuple[str, bool, bool]], bool]]
) -> None:
    log = Log()
    written: Counter[str] = Counter()
    with knowing(most):
        for work, is_kept in transactions:
            before = written.copy()
            try:
                with log.transaction() as transaction:
                    for name, is_looked_for, may_be_new in work:
                        if is_looked_for:
                            state = transaction.stream(name)
                            assert (state.last_number + 1 if state else 0) == written[
                                name
                            ]
                        write(transaction, name, written[name], may_be_new)
                        written[name] += 1
                    if not is_kept:
                        raise UndoneError
            except UndoneError:
                written = before
            with log.transaction() as transaction:
                for name in NAMES:
                    assert transaction.stream(name) == log.stream(name)

    for name in NAMES:
        state = log.stream(name)
        assert (state.last_number + 1 if state else 0) == written[name]
        if state is not None:
            records = log.stream_forwards(state, 0, 10**6, 10**6)
            assert [record.number for record in records] == list(range(written[name]))
    log.close()


@given(most=most_heads, kept=st.lists(names), undone=st.lists(names))
def test_a_log_that_is_opened_again_knows_its_streams(
    most: int, kept: list[str], undone: list[str]
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        knowing(most),
    ):
        log = Log(Path(folder) / "events.db")
        with log.transaction() as transaction:
            for name in dict.fromkeys(kept):
                transaction.begin(name, [new_event()])
        with pytest.raises(UndoneError), log.transaction() as transaction:
            for name in dict.fromkeys(undone):
                transaction.begin(name, [new_event()])
            raise UndoneError
        log.close()

        log = Log(Path(folder) / "events.db")
        with log.transaction() as transaction:
            found = {name for name in NAMES if transaction.stream(name) is not None}
        log.close()

    assert found == set(kept)


class ForgetfulHeads(heads.Heads):
    """Know nothing by heart."""

    def find(self, name: str, look_up: Any) -> StreamState | None:
        state: StreamState | None = look_up(name)
        return state


class CarefulAppend(Append):
    """Looks at each stream before it writes."""

    may_begin = False


METADATA = (b'{"$tb":9223372036854775807}', b'{"$tb":1}', b'{"$maxCount":1}', b"[]")
expectations = st.sampled_from([NO_STREAM, ANY, STREAM_EXISTS, 0, 1])
operations = st.one_of(
    st.tuples(
        st.just("append"),
        st.lists(
            st.tuples(
                st.sampled_from(["ant", "bee", "$$ant", "$$bee", "$$$$ant"]),
                expectations,
                st.lists(st.integers(0, 3), max_size=2),
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    st.tuples(
        st.sampled_from(["delete", "tombstone"]),
        st.tuples(st.sampled_from(["ant", "bee", "$$ant"]), expectations),
    ),
)


def appending(name: str, number: int) -> tuple[str, Any]:
    """Return an append of one event to a stream that is new."""
    return "append", [(name, NO_STREAM, [number])]


@given(most=most_heads, drawn=st.lists(operations, max_size=10))
# No metadata are begun after a tombstone. Those that came first hide what is begun.
@example(1, [appending("ant", 3), ("tombstone", ("ant", 0)), appending("$$ant", 3)])
@example(1, [appending("$$ant", 0), appending("ant", 3)])
def test_streams_end_as_if_nothing_were_known_by_heart(
    most: int, drawn: list[tuple[str, Any]]
) -> None:
    def ending(new_append: type[Append]) -> list[Any]:
        log = Log()
        if new_append is CarefulAppend:
            log._heads = ForgetfulHeads(log.metadata_streams)
        writer = Writer(log)
        outcomes: list[Any] = []
        for kind, asked in drawn:
            if kind == "append":
                appends = [
                    new_append(name, expected, [numbered_event(n) for n in numbers])
                    for name, expected, numbers in asked
                ]
                writer.append_all(appends)
                outcomes += [repr(each.outcome) for each in appends]
                continue
            try:
                outcomes.append(getattr(writer, kind)(*asked))
            except ProtocolError as error:
                outcomes.append(repr(error))
        written = [
            (each.position, each.stream, each.number, each.type, each.data)
            for each in log.forwards(0, 10**6)
        ]
        log.close()
        return [outcomes, written]

    with knowing(most):
        by_heart = ending(Append)

    assert by_heart == ending(CarefulAppend)


def numbered_event(number: int) -> NewEvent:
    return NewEvent(
        uuid.UUID(int=number + 1).bytes, "$metadata", True, METADATA[number]
    )
