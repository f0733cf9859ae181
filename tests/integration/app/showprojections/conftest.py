from __future__ import annotations

from typing import Any

import pytest

from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from tests.support.projection_tables import change


@pytest.fixture(autouse=True)
def _store(settings: Any) -> None:
    # It is not asked.
    settings.ESDB_URI = "esdb://127.0.0.1:9?Tls=false"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def row(school_projection: Registration) -> ProjectionTracking:
    """The tracking row of the example's projection, which has processed something."""
    row = school_projection.tracked().row()
    change(row, position=7, fingerprint=fingerprint(school_projection))
    return row
