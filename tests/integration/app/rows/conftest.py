from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.support.batches import Runner
from tests.support.rows_app.models import (
    Animal,
)


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def rows(runner: Runner) -> Callable[..., Any]:
    return runner.view.rows


@pytest.fixture
def animal() -> Animal:
    return Animal.objects.create(name="Fido", tricks=["sit"], weight=Decimal("1.50"))
