"""What signals were sent, and a projection that fails as it is told."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models import F
from django.dispatch import Signal
from eventsourcing.persistence import Tracking

from django_esdb import signals
from django_esdb.db.functions import DatabaseTime
from django_esdb.models import ProjectionTracking
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.supervising import wait_until

ALL = {
    name: value for name, value in vars(signals).items() if isinstance(value, Signal)
}
# Of these there are as many as it happens to take.
BATCHES = ("batch_began", "batch_committed", "batch_undone")


class Picky(TrainingSchoolProjection):
    """Raises, for the tricks that it is told, what it is told."""

    name = "Picky"
    errors: dict[str, list[Exception]] = {}

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        errors = self.errors.get(getattr(domain_event, "trick", ""))
        if errors:
            raise errors.pop(0)
        super().process_event(domain_event, tracking)


class Heard:
    """
    What was sent.

    Attributes:
        all: Each signal's name, with its arguments, in order.
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._receivers = {name: partial(self._note, name) for name in ALL}

    def connect(self) -> None:
        for name, receiver in self._receivers.items():
            ALL[name].connect(receiver)

    def disconnect(self) -> None:
        for name, receiver in self._receivers.items():
            ALL[name].disconnect(receiver)

    def names(self, but: tuple[str, ...] = BATCHES) -> list[str]:
        return [name for name, _ in self.all if name not in but]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [arguments for each, arguments in self.all if each == name]

    def has_reached(self, name: str, last: int) -> bool:
        """Whether it was sent once, at a position that others may have moved on."""
        (sent,) = self.of(name)
        position = sent.pop("position")
        return position >= last and not sent

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        wait_until(lambda: len(self.of(name)) >= count, f"no {name}: {self.names()}")
        return self.of(name)[count - 1]

    def _note(self, name: str, signal: Signal, sender: Any, **arguments: Any) -> None:
        assert sender.name == arguments.pop("projection")
        assert arguments.pop("application") == "TrainingSchool"
        self.all.append((name, arguments))


def take_over(owner: str = "other") -> None:
    """Take the lease away, as another process does after a suspension."""
    ProjectionTracking.objects.update(
        token=F("token") + 1, owner=owner, leased_until=DatabaseTime(600)
    )
