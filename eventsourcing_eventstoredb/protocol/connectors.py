"""
Which connection is in use: how it is looked for, replaced and closed.

A gRPC channel must not be open while the process forks: it is closed before, and on
both sides another one is opened when it is next needed.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from time import monotonic

from eventsourcing_eventstoredb.protocol.access import Access
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.protocol.forking import before_fork, gate
from eventsourcing_eventstoredb.protocol.outages import outage_of


class Connector:
    """
    Has one connection open at a time, for all threads.

    Args:
        access: Which servers there are, and how to speak to them.
        find: Opens a connection to a node of a cluster; blocks.

    Attributes:
        access: As the argument.
        outage: Tells whether calls of the process succeed.
        failure: Why there was no node when one was looked for last.
        takes_batches: Whether batches can be appended; None while that is not known.
    """

    def __init__(self, access: Access, find: Callable[[Connector], Connection]) -> None:
        self.access = access
        self.outage = outage_of(access)
        self.failure: CallError | None = None
        self.takes_batches: bool | None = None
        self._find = find
        self._connection: Connection | None = None
        self._is_closed = False
        # Reentrant, since a client may be collected, and closed, at any moment.
        self._lock = threading.RLock()
        self._opening: Future[Connection] | None = None
        _connectors.add(weakref.ref(self, _connectors.discard))

    @cached_property
    def for_leader(self) -> Connector:
        """What has a connection to the leader; this, if the leader is preferred."""
        if not self.access.is_cluster or self.access.node_preference == "leader":
            return self
        access = replace(self.access, node_preference="leader")
        leader = Connector(access, self._find)
        leader._is_closed = self._is_closed
        return leader

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called, and :meth:`reopen` not since."""
        return self._is_closed

    def connection(self, seconds: float | None = None) -> Connection:
        """
        Return the connection, and open one first if there is none.

        Only with a cluster this blocks, while it is asked for its members.

        Args:
            seconds: How long to wait for that; None for no limit.

        Raises:
            CallError: This was closed, or no node of the cluster can be used.
        """
        connection = self._connection
        if connection is not None and not connection.is_closed:
            return connection
        return self.replace(connection, seconds=seconds)

    def replace(
        self,
        failed: Connection | None,
        target: str | None = None,
        seconds: float | None = None,
    ) -> Connection:
        """
        Open another connection in place of one that failed.

        A node is looked for once for all threads that wait for it; they have the look's
        failure, too.

        Args:
            failed: The connection that failed. If there is another one by now, that
                one is left alone.
            target: Where to connect to; None to look for a node.
            seconds: How long to wait for a node; None for no limit.

        Raises:
            CallError: This was closed, or no node of the cluster can be used.
        """
        began = monotonic()
        # In this order, since who holds the lock may have to pass the gate.
        with gate.inside():
            with self._lock:
                if self._is_closed:
                    raise CallError(Reason.CLOSED, "it cannot be used any more")
                if self._connection is not None and self._connection is not failed:
                    return self._connection
                if target is None and not self.access.is_cluster:
                    target = self.access.targets[0]
                looks = self._opening is None and target is None
                if looks:
                    self.failure = None
                    self._opening = Future()
                opening = self._opening
            if target is not None:
                return self._use(Connection(self.access, target), failed)
            assert opening is not None
            if looks:
                threading.Thread(
                    target=self._look,
                    args=(opening, failed),
                    name="eventstoredb-discovery",
                    daemon=True,
                ).start()
            try:
                return opening.result(seconds)
            except TimeoutError:
                if self.failure is not None:
                    details = self.failure.details
                    raise CallError(Reason.NO_NODE, details) from None
                took = self.outage.seconds or monotonic() - began
                raise CallError(
                    Reason.NO_NODE,
                    f"no {self.access.node} among {self.access.addresses} was found "
                    f"in {took:.0f} s",
                ) from None

    def reopen(self) -> None:
        """Allow connections again, after this was closed."""
        self._is_closed = False
        leader = self._leader_in_use()
        if leader is not None:
            leader.reopen()

    def close(self) -> None:
        """Close the connection, and open no other one; may be called repeatedly."""
        leader = self._leader_in_use()
        if leader is not None:
            leader.close()
        if self._is_closed:
            # Also when the interpreter has all but ended, and modules are gone.
            return
        with self._lock:
            self._is_closed = True
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection, and have the next use open another one."""
        # Without the lock, which another thread may hold in a fork.
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """In a forked child: leave the connection to the parent."""
        if self._connection is not None:
            _abandoned.append(self._connection)
            self._connection = None
        # What held it is a thread of the parent.
        self._lock = threading.RLock()
        self._opening = None
        self.outage = outage_of(self.access)

    def _leader_in_use(self) -> Connector | None:
        leader: Connector | None = self.__dict__.get("for_leader")
        return None if leader is self else leader

    def _look(self, opening: Future[Connection], failed: Connection | None) -> None:
        """Look for a node; in a thread that ends with that, and limits no waiter."""
        # Who waits for it is inside, and may hold up a fork.
        with gate.inside(at_once=True):
            try:
                found = self._find(self)
                used = self._use(found, failed)
            except BaseException as error:
                self._end_look(opening)
                opening.set_exception(error)
            else:
                self._end_look(opening)
                opening.set_result(used)

    def _end_look(self, opening: Future[Connection]) -> None:
        with self._lock:
            if self._opening is opening:
                self._opening = None

    def _use(self, opened: Connection, failed: Connection | None) -> Connection:
        with self._lock:
            current = self._connection
            if self._is_closed or (current is not None and current is not failed):
                opened.close()
            if self._is_closed:
                raise CallError(Reason.CLOSED, "while it was connecting")
            if current is not None and current is not failed:
                return current
            self._connection = opened
        if failed is not None:
            failed.close()
        return opened


# No WeakSet: that may fail to be looked through while another thread adds to it.
_connectors: set[weakref.ref[Connector]] = set()

# What was still in use when the process was forked. Closing it in the child, or
# letting it be collected there, would reach into the parent's channels.
_abandoned: list[Connection] = []


def _living() -> Iterator[Connector]:
    for reference in tuple(_connectors):
        connector = reference()
        if connector is not None:
            yield connector


def _disconnect_all() -> None:
    for connector in _living():
        connector.disconnect()


def _abandon_all() -> None:
    for connector in _living():
        connector.abandon()


@atexit.register
def _close_at_exit() -> None:
    # Applications need not be closed; a channel that is collected when modules
    # are gone by then would print a traceback.
    for connector in _living():
        connector.close()


before_fork(_disconnect_all)
os.register_at_fork(after_in_child=_abandon_all)
