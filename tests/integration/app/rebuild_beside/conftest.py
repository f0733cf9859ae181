from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_esdb.rebuilding.beside import building
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from tests.support.supervising import catch_up

MakeRegistration = Callable[..., Registration]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do not wait for a process that might take over; leave no tables behind."""
    module = "django_esdb.management.commands.rebuildprojection.TAKEOVER_SECONDS"
    monkeypatch.setattr(module, 0.0)
    yield
    monkeypatch.undo()
    for registration in registry:
        building.abort_build(registration)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, registration: MakeRegistration) -> Any:
    """Register one projection alone, made as the example's is."""

    def register(**options: Any) -> Registration:
        made = registration(**options)
        monkeypatch.setattr(registry, "_registry", {made.name: made})
        return made

    return register


@pytest.fixture
def spoilt(school: TrainingSchool, school_projection: Registration) -> TrainingSchool:
    """The school with two dogs and a trick, one of whose rows is wrong."""
    school.register("Fido")
    school.register("Rex")
    school.add_trick("Fido", "sit")
    catch_up(school_projection)
    Dog.objects.filter(name="Rex").update(name="wrong")
    return school
