"""What is said of an app's ``projections.py`` that cannot be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from django_esdb import registry as registry_module
from django_esdb.apps import DjangoEsdbConfig
from django_esdb.checks.configuration import check_all
from django_esdb.registry import ProjectionRegistry

APP = "app_discovered_by_a_test"

REGISTER = """
from typing import Any
from eventsourcing.application import Application
from eventsourcing.projection import Projection
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb import registry as module

class App(Application[Any]):
    pass

class Discovered(Projection[DjangoTrackingRecorder]):
    def process_event(self, domain_event, tracking):
        pass

def register():
    module.registry.register(
        Discovered, application_class=App, view_class=DjangoTrackingRecorder
    )

register()
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> ProjectionRegistry:
    """A registry that nothing has registered anything with yet."""
    registry = ProjectionRegistry()
    # Wherever it was imported.
    checks = ("connections", "databases", "projections", "topics")
    for module in ("registry", "apps", *(f"checks.{name}" for name in checks)):
        monkeypatch.setattr(f"django_esdb.{module}.registry", registry)
    return registry


@pytest.fixture
def projections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The ``projections.py`` of the one app that there is; empty."""
    package = tmp_path / APP
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    config = SimpleNamespace(name=APP, module=import_module(APP))
    monkeypatch.setattr(apps, "get_app_configs", lambda: [config])
    yield package / "projections.py"
    for name in (APP, f"{APP}.projections"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("before", ["", REGISTER])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import nothing_of_this_name", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
        (
            "from django_esdb import register_projection\n"
            "register_projection(application_class=1, view_class=2)(int)",
            TypeError,
        ),
    ],
)
def test_an_error_in_the_first_module_is_raised_as_it_is(
    registry: ProjectionRegistry,
    projections: Path,
    before: str,
    code: str,
    error: type[BaseException],
) -> None:
    projections.write_text(f"{before}\n{code}\n", encoding="utf-8")

    with pytest.raises(error) as caught:
        autodiscover_modules("projections", register_to=registry)

    assert caught.type is error


def test_a_name_that_the_first_module_registers_twice_is_a_check_s_error(
    registry: ProjectionRegistry, projections: Path
) -> None:
    projections.write_text(f"{REGISTER}\nregister()\n", encoding="utf-8")
    config = DjangoEsdbConfig("django_esdb", sys.modules["django_esdb"])

    config.ready()

    [message] = [each for each in check_all() if each.id == "django_esdb.E005"]
    assert "Projection 'Discovered'" in message.msg
    assert "is registered twice" in message.msg
    assert len(registry_module.registry) == 0


def test_an_empty_registry_is_a_registry() -> None:
    assert ProjectionRegistry()
    assert len(ProjectionRegistry()) == 0
