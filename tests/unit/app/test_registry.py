from __future__ import annotations

import functools
from typing import Any

import pytest
from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
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
        registry.get("Unknown")
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


class AsyncProjection(Counting):
    async def process_event(self, domain_event: Any, tracking: Any) -> None:
        pass


class GeneratorProjection(Counting):
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        yield


class AsyncGeneratorProjection(Counting):
    async def process_event(self, domain_event: Any, tracking: Any) -> Any:
        yield


class AsyncHandler(Counting):
    @functools.singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> None:
        pass

    @process_event.register(int)
    async def handle_int(self, domain_event: int, tracking: Any) -> None:
        pass


class LibrarysAsyncHandler(Counting):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> None:
        pass

    @process_event.register(int)
    def _(self, domain_event: int, tracking: Any) -> Any:
        yield


class HandlerOfALaterClass(Counting):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> None:
        pass

    @process_event.register
    async def handle_later(self, domain_event: Later, tracking: Any) -> None:
        pass


class StaticHandler(Counting):
    @staticmethod
    async def process_event(  # type: ignore[override]
        domain_event: Any, tracking: Any
    ) -> None:
        pass


class PartialHandler(Counting):
    async def handle(self, number: int, domain_event: Any, tracking: Any) -> None:
        pass

    process_event = functools.partialmethod(handle, 1)  # type: ignore[assignment]


class Later:
    pass


class AsyncView(DjangoTrackingRecorder):
    async def add(self, number: int, tracking: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({"projection_class": AsyncProjection}, "process_event is async def"),
        ({"projection_class": GeneratorProjection}, "process_event is a generator"),
        ({"projection_class": AsyncGeneratorProjection}, "event is a generator"),
        ({"projection_class": AsyncHandler}, "handle_int is async def"),
        ({"projection_class": LibrarysAsyncHandler}, "_ is a generator"),
        ({"projection_class": HandlerOfALaterClass}, "handle_later is async def"),
        ({"projection_class": StaticHandler}, "process_event is async def"),
        ({"projection_class": PartialHandler}, "is async def"),
        ({"view_class": AsyncView}, "AsyncView.add is async def"),
    ],
)
def test_handlers_whose_code_would_not_run_are_refused(
    classes: dict[str, Any], says: str
) -> None:
    all_classes = {
        "projection_class": Counting,
        "application_class": App,
        "view_class": DjangoTrackingRecorder,
        **classes,
    }
    with pytest.raises(TypeError, match=f"{says}, but is called and not awaited"):
        ProjectionRegistry().register(**all_classes)


def test_what_else_is_asynchronous_in_a_view_is_left_alone() -> None:
    class View(DjangoTrackingRecorder):
        async def names(self) -> list[str]:
            return []

    registry = ProjectionRegistry()

    registry.register(Counting, application_class=App, view_class=View)

    assert registry.is_registered("Counting")


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


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_is_a_text(registry: ProjectionRegistry, name: object) -> None:
    class Named(Counting):
        pass

    Named.name = name  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"Named.name must be a text, but is"):
        registry.register(Named, application_class=App, view_class=POPOTrackingRecorder)
