"""How long nothing has succeeded, and what the log says about that."""

from __future__ import annotations

import logging
import os
import threading
from time import monotonic

from eventsourcing_eventstoredb.exceptions import NodeBehindError
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.protocol.access import Access

logger = logging.getLogger("eventsourcing_eventstoredb")

# What is over sooner, such as the election of a leader, is no news. Longer than single
# calls are patient: when their patience ends, their error says it.
QUIET_SECONDS = 4.0


class Outage:
    """
    Tells the log once that the servers cannot be used, and once that they can again.

    Made by :func:`outage_of`. Any thread may use it.

    Args:
        access: Which servers there are.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._since: float | None = None
        self._is_told = False

    @property
    def seconds(self) -> float:
        """For how long calls have failed; 0 if the last one did not."""
        since = self._since
        return 0.0 if since is None else monotonic() - since

    def failed(self, error: BaseException) -> None:
        """Note that a call has failed, in a way that may pass."""
        if isinstance(error, NodeBehindError):
            # A server that answers.
            return
        with self._lock:
            now = monotonic()
            if self._since is None:
                self._since = now
            if self._is_told or now - self._since < QUIET_SECONDS:
                return
            self._is_told = True
        log(
            logger,
            logging.WARNING,
            "EventStoreDB cannot be used",
            servers=self._access.addresses,
            error=str(error),
        )

    def succeeded(self) -> None:
        """Note that a call has succeeded."""
        if self._since is None:
            return
        with self._lock:
            seconds, was_told = self.seconds, self._is_told
            self._since, self._is_told = None, False
        if was_told:
            log(
                logger,
                logging.INFO,
                "EventStoreDB can be used again",
                servers=self._access.addresses,
                seconds=round(seconds, 1),
            )


# By the servers and who of them is wanted. Clients come and go during an outage, each
# with a connection of its own.
_outages: dict[tuple[tuple[str, ...], str], Outage] = {}


def outage_of(access: Access) -> Outage:
    """Return what tells of the servers; the same for all clients of the process."""
    key = access.targets, access.node_preference
    return _outages.setdefault(key, Outage(access))


# Its lock may be held by a thread that is not there.
os.register_at_fork(after_in_child=_outages.clear)
