"""Looking at an application's events for a page, in the time that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DatabaseError
from django.utils.translation import gettext
from eventsourcing.application import Application
from eventsourcing.persistence import (
    InfrastructureFactoryError,
    PersistenceError,
    ProgrammingError,
)

from django_esdb.admin.event_filter import is_shown
from django_esdb.applications.shared import get_application
from django_esdb.applications.store_address import store_hint
from django_esdb.exceptions import ConfigurationError
from django_esdb.registry import registry
from django_esdb.status.status import shown
from eventsourcing_eventstoredb import store_deadline

if TYPE_CHECKING:
    from django_esdb.events.stored_events import StoredEvents
    from eventsourcing_eventstoredb.browsing.browser import BrowsedEvent

# A page comes within two seconds, also where the store is silent.
SECONDS = 1.5
SILENT = 503

T = TypeVar("T")


class UnusableError(Exception):
    """Nothing can be shown; the text, which can be shown, says why."""

    def __init__(self, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.status = status


def application_names() -> list[str]:
    return sorted(registry.applications())


def _application_class(name: str) -> type[Application[Any]]:
    found = registry.applications().get(name)
    if found is None:
        raise UnusableError(gettext("There is no such application."))
    return found


def read(name: str, look: Callable[[StoredEvents], T]) -> T:
    """
    Look at the events of an application.

    Raises:
        UnusableError: That is not possible.
    """
    # It loads the client library, which a site without such pages does not need.
    from django_esdb.events.stored_events import StoredEvents

    return ask(name, lambda application: look(StoredEvents(application)))


def ask(name: str, look: Callable[[Application[Any]], T]) -> T:
    """
    Ask an application, on any store.

    Raises:
        UnusableError: That is not possible.
    """
    application_class = _application_class(name)
    try:
        with store_deadline(SECONDS):
            return look(get_application(application_class))
    except (InfrastructureFactoryError, ConfigurationError) as error:
        raise UnusableError(shown(str(error))) from error
    except ProgrammingError as error:
        raise UnusableError(nothing_there()) from error
    except (PersistenceError, DatabaseError) as error:
        text = gettext(
            "The event store cannot be used now, or does not find this in time: "
            "%(reason)s"
        ) % {"reason": shown(f"{error}{store_hint(application_class, error)}")}
        raise UnusableError(text, SILENT) from error


def event_at(stored: StoredEvents, position: int) -> BrowsedEvent:
    event = stored.browser.at(position)
    if event is None:
        raise UnusableError(nothing_there())
    if not is_own(event.stream, stored):
        raise UnusableError(not_own())
    return event


def is_own(stream: str, stored: StoredEvents) -> bool:
    """Return whether a stream is the application's to show, or has links."""
    if stream.startswith("$"):
        return is_shown(stream)
    return stored.browser.is_own_stream(stream)


def nothing_there() -> str:
    return gettext("There is no event at this position.")


def not_own() -> str:
    return gettext("This is no stream of the application.")
