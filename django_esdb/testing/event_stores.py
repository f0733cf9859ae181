"""An empty event store for a test, in memory or behind a server of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.test.utils import override_settings
from eventsourcing.application import Application

from django_esdb.applications.shared import get_application
from django_esdb.conf import MODULE_KEYS, PERSISTENCE_MODULE, settings
from django_esdb.registry import registry
from django_esdb.testing.memory import MemoryEventStore

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.server import EmbeddedServer

_URI = "EVENTSTOREDB_URI"
# What would have a test use another store.
_ADDRESS_KEYS = (
    _URI,
    "EVENTSTOREDB_ROOT_CERTIFICATES",
    "EVENTSTOREDB_USERNAME",
    "EVENTSTOREDB_PASSWORD",
)
_PAGE = 1000


@contextmanager
def memory_event_store() -> Iterator[MemoryEventStore]:
    """
    Have all applications keep their events in memory, without any server.

    The store is empty at first, and is gone with the block. Applications of the same
    name share it, in whichever thread they are made. It takes precedence over what the
    settings and the environment variables say, so that a test cannot write to a
    store that others use; only an application to which the test itself gives another
    ``env`` has that one. Positions are 1, 2, 3 and so on.
    """
    with (
        MemoryEventStore().in_use() as store,
        _configured("django_esdb.testing.memory"),
    ):
        yield store


@contextmanager
def embedded_event_store() -> Iterator[EmbeddedServer]:
    """
    Have all applications keep their events in an embedded server, started for it.

    It is EventStoreDB for all that its clients see: positions, errors, subscriptions.
    Else it is as :func:`memory_event_store`. What is yielded can be frozen, killed and
    started again.
    """
    # Loads gRPC, which tests in memory do without.
    from eventsourcing_eventstoredb.server import EmbeddedServer

    with EmbeddedServer() as server, _configured(PERSISTENCE_MODULE, server.uri):
        yield server


def recorded_events(application_class: type[Application[Any]]) -> list[Any]:
    """
    Return all domain events that an application has recorded, in their order.

    Args:
        application_class: As for :func:`~django_esdb.get_application`.

    Raises:
        eventsourcing.persistence.PersistenceError: The event store cannot be used.
    """
    application = get_application(application_class)
    events: list[Any] = []
    position = None
    while True:
        page = application.recorder.select_notifications(
            start=position, limit=_PAGE, inclusive_of_start=position is None
        )
        events += map(application.mapper.to_domain_event, page)
        if len(page) < _PAGE:
            return events
        position = page[-1].id


@contextmanager
def _configured(module: str, uri: str | None = None) -> Iterator[None]:
    chosen = {"PERSISTENCE_MODULE": module, **({_URI: uri} if uri else {})}
    env = {key: settings.ESDB_ENV[key] for key in _kept(settings.ESDB_ENV)}
    with (
        # Which an application's own class yields to, unlike to settings.
        _environment_variables(chosen),
        # Closes what get_application has made, before and after.
        override_settings(
            ESDB_ENV={**env, **chosen},
            ESDB_URI=uri,
            ESDB_USERNAME=None,
            ESDB_PASSWORD=None,
            ESDB_ROOT_CERTIFICATES=None,
        ),
    ):
        yield


@contextmanager
def _environment_variables(chosen: Mapping[str, str]) -> Iterator[None]:
    kept = _kept(os.environ)
    changed = {key for key in os.environ if key not in kept} | chosen.keys()
    before = {key: os.environ.pop(key) for key in changed if key in os.environ}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for key in changed:
            os.environ.pop(key, None)
        os.environ.update(before)


def _kept(env: Mapping[str, str]) -> set[str]:
    """Return the keys that say nothing about where applications keep events."""
    # Views are kept where they are: in the test's own database, mostly.
    views = tuple(f"{registration.name.upper()}_" for registration in registry)
    keys = (*MODULE_KEYS, *_ADDRESS_KEYS)
    endings = tuple(f"_{key}" for key in keys)
    return {
        key
        for key in env
        if (key not in keys and not key.endswith(endings)) or key.startswith(views)
    }
