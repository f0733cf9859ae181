"""
What the pages write, and waiting until it can be read.

A write goes to the application, which records events in the event store. A page
reads what the projection has made of them. In between each write here waits for
the projection, so that its writer sees it next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import (
    InfrastructureFactoryError,
    IntegrityError,
    PersistenceError,
)

from django_esdb import get_application
from eventsourcing_eventstoredb.text import one_line
from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0

_MAX_ATTEMPTS = 5


class DogExistsError(Exception):
    """A dog of this name is registered already."""


class NoSuchDogError(Exception):
    """No dog of this name is registered."""


class ConcurrentChangeError(Exception):
    """Others changed the dog again and again at the same moment."""


class EventStoreUnavailableError(Exception):
    """
    The event store cannot be used now.

    Has no details, which are logged, so it can be shown to any user.
    """


@dataclass(frozen=True, slots=True)
class Write:
    """
    Something that was recorded.

    Attributes:
        dog_id: The dog that it is about.
        visible: Whether the read models show it already. If not, they will
            when the projection gets there.
    """

    dog_id: UUID
    visible: bool


def register_dog(name: str) -> Write:
    """
    Register a dog, and wait a moment until it can be read.

    Raises:
        DogExistsError: There is one of this name, maybe since just now.
        EventStoreUnavailableError: Whether it was recorded is not known.
    """
    with _event_store():
        try:
            position = get_application(TrainingSchool).register(name)
        except IntegrityError:
            raise DogExistsError(name) from None
    return Write(domain.Dog.create_id(name), visible=_is_visible(position))


def add_trick(name: str, trick: str) -> Write:
    """
    Add a trick to those of a dog, and wait a moment until it can be read.

    Raises:
        NoSuchDogError: No dog of this name is registered.
        ConcurrentChangeError: Nothing was recorded; trying again may help.
        EventStoreUnavailableError: Whether it was recorded is not known.
    """
    with _event_store():
        position = _add_trick(name, trick)
    return Write(domain.Dog.create_id(name), visible=_is_visible(position))


def _add_trick(name: str, trick: str) -> int:
    school = get_application(TrainingSchool)
    for _ in range(_MAX_ATTEMPTS):
        try:
            return school.add_trick(name, trick)
        except AggregateNotFoundError:
            raise NoSuchDogError(name) from None
        except IntegrityError:
            # Another writer's event came first; the trick can go behind it.
            continue
    raise ConcurrentChangeError(name)


@contextmanager
def _event_store() -> Iterator[None]:
    try:
        yield
    except (PersistenceError, InfrastructureFactoryError) as error:
        logger.error(
            "Event store unavailable: %s: %s", type(error).__name__, one_line(error)
        )
        raise EventStoreUnavailableError from error


def _is_visible(position: int) -> bool:
    view = TrainingSchoolView(name=TrainingSchoolProjection.name)
    try:
        view.wait(TrainingSchool.name, position, timeout=WAIT_SECONDS)
    except TimeoutError:
        logger.warning(
            "Projection %s has not reached position %s within %s s",
            view.name,
            position,
            WAIT_SECONDS,
        )
        return False
    return True
