from __future__ import annotations

from typing import Any

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection

from django_esdb.exceptions import AlreadyRegisteredError, NotRegisteredError
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import ProjectionRegistry


class App(Application[Any]):
    pass


class Counting(Projection[TrackingRecorder]):
    def process_event(self, domain_event: Any, tracking: Any) -> None:
        pass


class counting(Counting):  # noqa: N801
    pass


@pytest.fixture
def registry() -> ProjectionRegistry:
    registry = ProjectionRegistry()
    registry.register(
        Counting, application_class=App, view_class=DjangoTrackingRecorder
    )
    return registry


def test_registration_can_be_got_by_name(registry: ProjectionRegistry) -> None:
    registration = registry.get("Counting")

    assert registration.projection_class is Counting
    assert (registration.name, registration.application_name) == ("Counting", "App")
    assert list(registry) == [registration]
    assert registry.is_registered("Counting")


@pytest.mark.parametrize("projection_class", [Counting, counting])
def test_name_can_be_registered_once(
    registry: ProjectionRegistry, projection_class: type[Projection[Any]]
) -> None:
    with pytest.raises(AlreadyRegisteredError, match="is registered twice"):
        registry.register(
            projection_class, application_class=App, view_class=DjangoTrackingRecorder
        )

    assert len(registry) == 1


def test_unknown_name_lists_known_ones(registry: ProjectionRegistry) -> None:
    with pytest.raises(NotRegisteredError, match="registered: Counting"):
        registry.get("Nobody")
    registry.unregister("Counting")
    with pytest.raises(NotRegisteredError, match="registered: none"):
        registry.get("Counting")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("projection_class", App),
        ("application_class", Counting),
        ("application_class", "App"),
        ("view_class", App),
    ],
)
def test_wrong_kind_of_class_is_refused(argument: str, value: Any) -> None:
    classes = {
        "projection_class": Counting,
        "application_class": App,
        "view_class": DjangoTrackingRecorder,
        argument: value,
    }
    with pytest.raises(TypeError, match=f"{argument} must be a subclass"):
        ProjectionRegistry().register(**classes)


def test_projection_cannot_have_its_applications_name() -> None:
    class Same(Counting):
        name = "APP"

    with pytest.raises(ValueError, match="has the name of its application"):
        ProjectionRegistry().register(
            Same, application_class=App, view_class=DjangoTrackingRecorder
        )


def test_only_views_on_the_orm_get_its_persistence_module(
    registry: ProjectionRegistry,
) -> None:
    key = "COUNTING_PERSISTENCE_MODULE"
    assert registry.get("Counting").env()[key] == "django_esdb.persistence"
    registry.unregister("Counting")
    registry.register(Counting, application_class=App, view_class=POPOTrackingRecorder)
    assert key not in registry.get("Counting").env()
