from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_esdb.registry import Registration
from django_esdb.runner import decisions
from tests.support.heard_signals import Heard, Picky

MakeRegistration = Callable[..., Registration]


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    heard.connect()
    yield heard
    heard.disconnect()


@pytest.fixture
def picky(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> MakeRegistration:
    """Make a registration of the projection that raises what it is told."""
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Picky, "errors", {})

    def make(**options: Any) -> Registration:
        return registration(projection_class=Picky, **options)

    return make
