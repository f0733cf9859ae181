"""What the log knows of its streams by heart is what its database says."""

from __future__ import annotations

import uuid
from collections import Counter
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.server import log as log_module
from eventsourcing_eventstoredb.server.log import Log
from eventsourcing_eventstoredb.server.records import NewEvent

NAMES = ("ant", "bee", "cat", "dog")
names = st.sampled_from(NAMES)
# Events for streams, each with whether the stream is looked for before.
works = st.lists(st.tuples(names, st.booleans()), max_size=6)


class UndoneError(Exception):
    """Undoes a transaction."""


def new_event() -> NewEvent:
    return NewEvent(uuid.uuid4().bytes, "T", True, b"{}")


@given(
    most=st.sampled_from([1, 2, 100]),
    transactions=st.lists(st.tuples(works, st.booleans()), max_size=8),
)
def test_a_transaction_finds_each_stream_where_it_was_left(
    most: int, transactions: list[tuple[list[tuple[str, bool]], bool]]
) -> None:
    log = Log()
    written: Counter[str] = Counter()
    with patch.object(log_module, "MOST_HEADS", most):
        for work, is_kept in transactions:
            before = written.copy()
            try:
                with log.transaction() as transaction:
                    for name, is_looked_for in work:
                        if is_looked_for:
                            state = transaction.stream(name)
                            assert (state.last_number + 1 if state else 0) == written[
                                name
                            ]
                        transaction.write(name, written[name], [new_event()])
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
