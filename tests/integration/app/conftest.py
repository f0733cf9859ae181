from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from eventsourcing import utils

from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from tests.support.failed_events import (
    MakeRegistration,
    PickyProjection,
)
from tests.support.supervising import catch_up


@pytest.fixture
def register(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[OnFailure], Registration]]:
    """Register the projection; after the test it is not any more."""
    monkeypatch.setattr(PickyProjection, "bad", {"burn"})

    def register(on_failure: OnFailure) -> Registration:
        picky = registration(projection_class=PickyProjection, on_failure=on_failure)
        registry._registry["Picky"] = picky
        return picky

    yield register
    registry._registry.pop("Picky", None)


@pytest.fixture
def parked(
    school: TrainingSchool, register: Callable[[OnFailure], Registration]
) -> list[FailedEvent]:
    """Two failed events of Fido, the second behind the first, and one of Rex."""
    for name in ("Fido", "Rex"):
        school.register(name)
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    school.add_trick("Rex", "burn")
    catch_up(register(OnFailure.PARK))
    events = list(FailedEvent.objects.in_order())
    assert [bool(event.error) for event in events] == [True, False, True]
    return events


@pytest.fixture
def former_names() -> Iterator[None]:
    """Forget at the end which topics the test has registered."""
    before = dict(utils._topic_cache)
    for topic in before:
        # What other tests have looked up by the module that it is in, or comes through.
        if topic.partition(":")[0] in sys.modules:
            del utils._topic_cache[topic]
    yield
    utils._topic_cache.clear()
    utils._topic_cache.update(before)
