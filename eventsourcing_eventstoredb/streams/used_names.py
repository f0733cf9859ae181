"""
Names of streams that have events, or had them, as far as this process has seen.

Who gets an aggregate by a name and finds none is about to begin one. So that is when
the server is asked whether the stream was deleted: the save that follows need not ask.
A name is never taken for unused because of what is remembered, so what other processes
do meanwhile makes it incomplete, and not wrong.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from uuid import UUID
from weakref import WeakKeyDictionary

from eventsourcing.persistence import IntegrityError, PersistenceError

from eventsourcing_eventstoredb.deadlines import seconds_left
from eventsourcing_eventstoredb.protocol import saving
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import client_errors
from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.topics.id_types import is_unique

# So many names are remembered for each client; then a tenth of them is forgotten, those
# that came first.
MOST_NAMES = 10_000

# Seconds that a read which found nothing may take longer than it would.
ASK_SECONDS = 0.25

# Seconds without a question after one that was refused or not answered: reads are not
# to be slow, or to leave a line in a server's log each time, for what they may miss.
PAUSE_SECONDS = 30.0


class UsedNames:
    """
    Names that are remembered for one client, and when to ask for others.

    Any thread may use it.
    """

    def __init__(self) -> None:
        # In the order in which they came. Looked into and added to without the lock.
        self._names: dict[str, None] = {}
        self._lock = threading.Lock()
        self._silent_until = 0.0
        # Once it has, it has for good.
        self._has_saved = False

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def call_for_a_question(self, client: EventStoreDBClient, name: str) -> bool:
        """
        Tell whether to ask the server before a stream of this name is begun.

        Args:
            client: The one for which names are remembered.
            name: The stream's name.
        """
        if not self._has_saved:
            self._has_saved = saving.has_saved(client)
        return name in self._names or not self._has_saved

    def remember(self, name: str) -> None:
        """Remember a name, and forget the first ones if there are too many."""
        names = self._names
        names[name] = None
        if len(names) > MOST_NAMES:
            with self._lock:
                # A copy, since others add to it meanwhile.
                for each in list(names)[: len(names) - MOST_NAMES * 9 // 10]:
                    del names[each]

    @property
    def may_ask(self) -> bool:
        """Whether the last question was answered, or long ago."""
        return monotonic() >= self._silent_until

    def pause(self) -> None:
        """Let no questions be asked for a while."""
        self._silent_until = monotonic() + PAUSE_SECONDS


_known: WeakKeyDictionary[EventStoreDBClient, UsedNames] = WeakKeyDictionary()

# Another thread of the parent may hold a lock for ever.
os.register_at_fork(after_in_child=_known.clear)


def used_names(client: EventStoreDBClient) -> UsedNames:
    """Return what is remembered for a client."""
    names = _known.get(client)
    return _known.setdefault(client, UsedNames()) if names is None else names


def note_events(
    client: EventStoreDBClient, originator_id: UUID | str, name: str
) -> None:
    """
    Remember that a stream has events, unless its aggregate's ID was just made.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        originator_id: The aggregate's ID.
        name: The stream's name.
    """
    if not is_unique(originator_id):
        used_names(client).remember(name)


def note_nothing_found(
    client: EventStoreDBClient, originator_id: UUID | str, name: str
) -> None:
    """
    Find out whether a stream that was read, and has nothing, had events once.

    Nothing is asked where the ID was just made, or where this client has not saved yet;
    a client's first save asks by itself. Blocks for :data:`ASK_SECONDS` at most, and
    never fails: what is not found out here, the answer to the save tells.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        originator_id: The aggregate's ID.
        name: The stream's name.
    """
    if is_unique(originator_id) or not saving.has_saved(client):
        return
    names = used_names(client)
    if name in names or not names.may_ask or seconds_left(ASK_SECONDS) < ASK_SECONDS:
        return
    try:
        # The leader is asked, since a follower that lags does not know.
        with gate.inside(), client_errors(f"Looking for the end of stream {name!r}"):
            last = saving.last_position(client, name, ASK_SECONDS)
    except IntegrityError:
        # Tombstoned: each append is told so.
        return
    except PersistenceError:
        names.pause()
        return
    if last is not None:
        names.remember(name)
