from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps

from tests.support.batches import Runner
from tests.support.rows_app.models import (
    Animal,
)


@pytest.fixture(autouse=True)
def _no_models_are_left() -> Iterator[None]:
    """A model without a table would be asked for, and get permissions, from then on."""
    models = set(apps.all_models["rows_app"])
    yield
    assert set(apps.all_models["rows_app"]) == models, "define it in isolate_apps()"


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def rows(runner: Runner) -> Callable[..., Any]:
    return runner.view.rows


@pytest.fixture
def animal() -> Animal:
    return Animal.objects.create(name="Fido", tricks=["sit"], weight=Decimal("1.50"))
