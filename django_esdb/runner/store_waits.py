"""Waiting for an event store that is away."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from eventsourcing.persistence import InfrastructureFactory, PersistenceError
from eventsourcing.utils import Environment

from django_esdb.registry import Registration
from eventsourcing_eventstoredb import EventStoreDBFactory


def wait_for_store(
    registration: Registration, seconds: float, is_needless: Callable[[], bool]
) -> bool:
    """
    Wait so long at most for a projection's event store to be there.

    Args:
        registration: The projection.
        seconds: How long to wait, at most.
        is_needless: Asked now and then whether to wait no more.

    Returns:
        Whether it is there. False, perhaps at once, if that is not known, as of what is
        no EventStoreDB.
    """
    # Loads gRPC.
    from eventsourcing_eventstoredb.protocol.retrying import wait_for_connection

    name = registration.application_class.name
    with suppress(PersistenceError):
        factory = InfrastructureFactory.construct(
            Environment(
                name,
                {
                    **registration.application_class.env,
                    **os.environ,
                    **registration.env(),
                },
            )
        )
        if not isinstance(factory, EventStoreDBFactory):
            return False
        try:
            return wait_for_connection(factory.client, seconds, is_needless)
        finally:
            factory.close()
    return False
