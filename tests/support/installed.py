"""A plugin of pytest: refuse to test other packages than those that are installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


def pytest_configure() -> None:
    for name in ("django_esdb", "eventsourcing_eventstoredb"):
        module = importlib.import_module(name)
        where = Path(str(module.__file__))
        if not where.is_relative_to(sys.prefix):
            msg = f"{name} is not the installed one, but lies in {where.parent}"
            raise pytest.UsageError(msg)
