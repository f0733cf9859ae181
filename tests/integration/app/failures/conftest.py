from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from django_esdb.runner import decisions
from tests.support.failing import FailingProjection

MakeRegistration = Callable[..., Registration]


@pytest.fixture(autouse=True)
def _quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(FailingProjection, "bad", {"burn"})
    monkeypatch.setattr(FailingProjection, "tries", [])


@pytest.fixture
def failing(registration: MakeRegistration) -> MakeRegistration:
    """Make a registration of the projection that fails."""

    def make(**options: Any) -> Registration:
        return registration(projection_class=FailingProjection, **options)

    return make


@pytest.fixture
def _registered(failing: MakeRegistration) -> Iterator[None]:
    registry._registry["Failing"] = failing(on_failure=OnFailure.PARK)
    yield
    del registry._registry["Failing"]
