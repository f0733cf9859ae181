"""Whether a node that lacks a position lags behind, or the store was replaced."""

from __future__ import annotations

import threading
from time import monotonic

from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient, connector_of
from eventsourcing_eventstoredb.protocol.errors import Reason, reason_of
from eventsourcing_eventstoredb.protocol.heads import a_node_reaches

# Seconds for which a position is waited for that no node has: the one that had it may
# be about to come back.
_PATIENCE = 60.0

# Seconds for which a server may refuse where to resume before that is an answer: with
# the same code it says that it cannot answer yet.
REFUSAL_PATIENCE = 10.0
_FEWEST_REFUSALS = 3


class _Lagging:
    """Remembers for the process since when a position is missing from a cluster."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[tuple[str, ...], float] = {}

    def is_lost(self, client: EventStoreDBClient, position: int) -> bool:
        """
        Return whether to give a position up that a node of a cluster has not.

        That is so if no node has had it for a minute; asks them all, and blocks.
        """
        access = connector_of(client).access
        if a_node_reaches(access, position):
            self.caught_up(client)
            return False
        now = monotonic()
        with self._lock:
            since = self._since.setdefault(access.targets, now)
        return now - since >= _PATIENCE

    def caught_up(self, client: EventStoreDBClient) -> None:
        """Note that a position was found."""
        if self._since:
            with self._lock:
                self._since.pop(connector_of(client).access.targets, None)


class Refusals:
    """For how long a subscription has been refused the position to resume at."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0

    def are_final(self, error: Exception, *, in_cluster: bool) -> bool:
        """
        Note why resuming failed; return whether no event begins at the position.

        That is so if the server has said nothing else for ten seconds, or the nodes of
        a cluster for a minute.
        """
        if reason_of(error) is not Reason.POSITION:
            self._count = 0
            return False
        if not self._count:
            self._since = monotonic()
        self._count += 1
        patience = _PATIENCE if in_cluster else REFUSAL_PATIENCE
        is_over = monotonic() - self._since >= patience
        return is_over and self._count >= _FEWEST_REFUSALS

    def forget(self) -> None:
        """Note that something else was said."""
        self._count = 0


lagging = _Lagging()
