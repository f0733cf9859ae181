from __future__ import annotations

import pytest
from eventsourcing.persistence import (
    InfrastructureFactory,
    InfrastructureFactoryError,
)
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.utils import Environment

from django_esdb.persistence import DjangoFactory
from django_esdb.recorders import DjangoTrackingRecorder


class View(DjangoTrackingRecorder):
    pass


def factory(**env: str) -> InfrastructureFactory:  # type: ignore[type-arg]
    env["PERSISTENCE_MODULE"] = "django_esdb.persistence"
    return InfrastructureFactory.construct(Environment("Counting", env))


def test_the_module_has_the_factory() -> None:
    assert isinstance(factory(), DjangoFactory)


def test_view_is_made_under_the_projections_name() -> None:
    view = factory().tracking_recorder(View)

    assert isinstance(view, View)
    assert (view.name, view.using) == ("Counting", "default")


def test_view_may_be_named_by_its_topic() -> None:
    made = factory(TRACKING_RECORDER_TOPIC=f"{__name__}:View").tracking_recorder()
    assert type(made) is View
    assert type(factory().tracking_recorder()) is DjangoTrackingRecorder


def test_view_of_another_kind_is_refused() -> None:
    with pytest.raises(
        InfrastructureFactoryError, match="POPOTrackingRecorder is kept"
    ):
        factory().tracking_recorder(POPOTrackingRecorder)


def test_events_are_kept_elsewhere() -> None:
    for make in (
        factory().aggregate_recorder,
        factory().application_recorder,
        factory().process_recorder,
    ):
        with pytest.raises(NotImplementedError, match="eventsourcing_eventstoredb"):
            make()
