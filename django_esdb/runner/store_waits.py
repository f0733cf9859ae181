"""Waiting for an event store that is away."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic, sleep

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import InfrastructureFactory, OperationalError
from eventsourcing.utils import Environment

from django_esdb.registry import Registration
from eventsourcing_eventstoredb import EventStoreDBFactory, store_deadline

_PAUSE_SECONDS = 0.1


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

    env = {
        **registration.application_class.env,
        **os.environ,
        **registration.env(),
    }
    try:
        factory = InfrastructureFactory.construct(
            Environment(registration.application_class.name, env)
        )
    except EventSourcingError:
        return False
    if not isinstance(factory, EventStoreDBFactory):
        return False
    end = monotonic() + seconds
    with closing(factory):
        while not is_needless() and (left := end - monotonic()) > 0:
            with suppress(OperationalError), store_deadline(left):
                return wait_for_connection(factory.client, left, is_needless)
            # A cluster has no node to connect to yet.
            sleep(min(_PAUSE_SECONDS, left))
    return False
