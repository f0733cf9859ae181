from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from django_esdb import get_application, wait_for
from django_esdb.exceptions import (
    EventProcessingError,
    NotRegisteredError,
    WaitInTransactionError,
)
from django_esdb.testing import MemoryEventStore, running_projections
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import wait_until


def has_ended() -> bool:
    names = [thread.name for thread in threading.enumerate()]
    return TrainingSchoolProjection.name not in names


Running = Callable[..., AbstractContextManager[None]]


@pytest.mark.parametrize("store", ["memory_event_store", "embedded_event_store"])
@pytest.mark.parametrize("named", [(), (TrainingSchoolProjection.name,)])
def test_what_is_waited_for_comes(
    request: pytest.FixtureRequest, store: str, named: Any, transactional_db: None
) -> None:
    request.getfixturevalue(store)

    with running_projections(*named):
        position = get_application(TrainingSchool).register("Fido")
        assert wait_for(TrainingSchoolProjection, position, timeout=60)

    assert Dog.objects.get().name == "Fido"


def test_a_projection_that_fails_fails_the_test(
    memory_event_store: MemoryEventStore,
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> None:
        raise ValueError("too many dogs")

    monkeypatch.setattr(TrainingSchoolView, "register_dog", fail)

    with pytest.raises(EventProcessingError, match="too many dogs"):  # noqa: SIM117
        with running_projections(TrainingSchoolProjection):
            get_application(TrainingSchool).register("Fido")
            wait_until(has_ended)
    with pytest.raises(AssertionError) as raised:  # noqa: SIM117
        with running_projections(TrainingSchoolProjection):
            wait_until(has_ended)
            raise AssertionError("no dog is shown")
    assert "too many dogs" in raised.value.__notes__[0]


@pytest.mark.django_db
def test_a_test_in_a_transaction_is_told_what_to_do(
    memory_event_store: MemoryEventStore,
) -> None:
    with pytest.raises(WaitInTransactionError, match="TransactionTestCase"):  # noqa: SIM117
        with running_projections(TrainingSchoolProjection):
            pass


def test_a_projection_that_is_not_registered_is_named(
    running_projections: Running,
) -> None:
    with (
        pytest.raises(NotRegisteredError, match="Nothing"),
        running_projections("Nothing"),
    ):
        pass
