"""Waiting for an event store that is away."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import InfrastructureFactory, OperationalError
from eventsourcing.utils import Environment

from django_esdb.registry import Registration
from eventsourcing_eventstoredb import EventStoreDBFactory, store_deadline

_PAUSE_SECONDS = 0.1


class StoreWait:
    """
    Waits for a projection's event store, again and again over one connection.

    Args:
        registration: The projection.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._factory: EventStoreDBFactory | None = None

    def until_there(self, seconds: float, is_needless: Callable[[], bool]) -> bool:
        """
        Wait so long at most for the event store to be there.

        Args:
            seconds: How long to wait, at most.
            is_needless: Asked now and then whether to wait no more.

        Returns:
            Whether it is there. False, perhaps at once, if that is not known, as of
            what is no EventStoreDB.
        """
        if self._factory is None:
            self._factory = self._made()
        if self._factory is None or not _is_there(self._factory, seconds, is_needless):
            return False
        # What comes next may find that this connection is to the wrong node.
        self.close()
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        factory, self._factory = self._factory, None
        if factory is not None:
            factory.close()

    def _made(self) -> EventStoreDBFactory | None:
        application_class = self._registration.application_class
        env = {**application_class.env, **os.environ, **self._registration.env()}
        try:
            factory = InfrastructureFactory.construct(
                Environment(application_class.name, env)
            )
        except EventSourcingError:
            return None
        return factory if isinstance(factory, EventStoreDBFactory) else None


def _is_there(
    factory: EventStoreDBFactory, seconds: float, is_needless: Callable[[], bool]
) -> bool:
    # Loads gRPC.
    from eventsourcing_eventstoredb.protocol.retrying import wait_for_connection

    end = monotonic() + seconds
    while not is_needless() and (left := end - monotonic()) > 0:
        with suppress(OperationalError), store_deadline(left):
            return wait_for_connection(factory.client, left, is_needless)
        # A cluster has no node to connect to yet.
        sleep(min(_PAUSE_SECONDS, left))
    return False
