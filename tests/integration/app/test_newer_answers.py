"""Projections on servers that tell in other ways how far a subscription is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_esdb import signals
from django_esdb.applications.shared import close_applications
from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration, registry
from django_esdb.runner.lag import lag_measuring, lag_watch
from django_esdb.status import projection_statuses
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.models import SchoolCounts
from tests.support.failed_events import StuckProjection
from tests.support.relays import Relay, relay
from tests.support.stores import append, school_at
from tests.support.supervising import catch_up, running, wait_until, working

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.own_store("it counts what the server sends"),
]

CAUGHT_UP = b"\x42\x00"
# With a time and a position, in fields that the client does not know.
CAUGHT_UP_AT = b"\x42\x05\x78\x2a\x80\x01\x2a"
FELL_BEHIND = b"\x4a\x00"
CHECKPOINT_AT_ZERO = b"\x1a\x00"
CHECKPOINT_FAR_AWAY = b"\x1a\x0c\x08\x80\x94\xeb\xdc\x03\x10\x80\x94\xeb\xdc\x03"
UNKNOWN_MESSAGE = b"\xf2\x01\x02\x08\x01"

ORDERS: dict[str, list[list[bytes]]] = {
    "as 23.10 does": [[], [], [CAUGHT_UP]],
    "as 26.1 does": [[CHECKPOINT_AT_ZERO], [], [CHECKPOINT_FAR_AWAY, CAUGHT_UP_AT]],
    "caught up before anything": [[CHECKPOINT_AT_ZERO, CAUGHT_UP_AT]],
    "a checkpoint beyond what is still to come": [[CHECKPOINT_FAR_AWAY, CAUGHT_UP]],
    "behind again": [[CAUGHT_UP], [FELL_BEHIND], [CAUGHT_UP_AT]],
    "behind for ever": [[CAUGHT_UP], [FELL_BEHIND]],
    "never caught up": [],
    "what is unknown": [[UNKNOWN_MESSAGE], [UNKNOWN_MESSAGE], [UNKNOWN_MESSAGE]],
}


@pytest.fixture
def relayed(server: EmbeddedServer, settings: Any) -> Iterator[Relay]:
    with relay(server.target) as relayed:
        settings.ESDB_URI = relayed.uri
        yield relayed
        close_applications()


def position() -> int | None:
    return ProjectionTracking.objects.values_list("position", flat=True).first()


@pytest.fixture
def caught_up() -> Iterator[list[Any]]:
    heard: list[Any] = []

    def note(**kwargs: Any) -> None:
        heard.append(kwargs["position"])

    signals.projection_caught_up.connect(note)
    yield heard
    signals.projection_caught_up.disconnect(note)


@pytest.mark.parametrize("order", ORDERS)
def test_until_caught_up_processes_all_and_ends(
    server: EmbeddedServer,
    relayed: Relay,
    school_projection: Registration,
    order: str,
) -> None:
    relayed.told = ORDERS[order]
    with school_at(server) as school:
        school.register("Fido")
        last = school.register("Rex")

    catch_up(school_projection)

    assert SchoolCounts.objects.get().dogs == 2
    assert position() == last


@pytest.mark.parametrize("order", ORDERS)
def test_an_idle_projection_does_not_lag(
    server: EmbeddedServer,
    relayed: Relay,
    school_projection: Registration,
    caught_up: list[Any],
    order: str,
) -> None:
    relayed.told = ORDERS[order]
    with school_at(server) as school, running(school_projection):
        school.register("Fido")
        # Its position follows what is not its own, to the very end.
        others = append(server, "someone-elses", "other:Event")
        wait_until(lambda: position() == others)
        last = school.register("Rex")
        wait_until(lambda: position() == last)

        assert SchoolCounts.objects.get().dogs == 2
        edges = [
            each
            for told in ORDERS[order]
            for each in told
            if each in (CAUGHT_UP, CAUGHT_UP_AT, FELL_BEHIND)
        ]
        if edges and edges[-1] != FELL_BEHIND:
            wait_until(lambda: caught_up)


def behind() -> tuple[int | None, int | None, bool]:
    """Return the position of the last event, how many there are still, if exactly."""
    name = StuckProjection.name
    [lag] = [each.lag for each in projection_statuses() if each.projection == name]
    return lag.head, lag.events, lag.is_exact


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_told_of_the_lag_is_right(
    server: EmbeddedServer,
    relayed: Relay,
    registration: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    monkeypatch.setattr(lag_watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lag_measuring, "_FRESH", timedelta())
    stuck = registration(projection_class=StuckProjection)
    monkeypatch.setitem(registry._registry, stuck.name, stuck)
    relayed.told = ORDERS[order]
    with school_at(server) as school:
        last = school.register("Fido")
        with working(stuck):
            wait_until(lambda: behind() == (last, 0, True))
            school.add_trick("Fido", "sit")
            last = school.add_trick("Fido", "roll")
            # Where it is paused nothing is told any more, and it is asked for.
            wait_until(lambda: behind() == (last, 2, True))
