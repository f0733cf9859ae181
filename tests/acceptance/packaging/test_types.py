"""A user's program is checked with what is installed, and is as checkers take it."""

from __future__ import annotations

import shutil
from importlib.metadata import version

import django
import pytest

from tests.support.building import Built, pyproject
from tests.support.environments import Environment
from tests.support.projects import ROOT

PROJECT = ROOT / "tests" / "support" / "users_project"
SLOW = "installs the wheel, and what checks types"


@pytest.fixture(scope="module")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the user's project is."""
    folder = tmp_path_factory.mktemp("types") / "environment"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    environment = Environment(folder)
    environment.install(
        f"{built.wheel}[opentelemetry,prometheus]",
        f"django=={django.__version__}",
        # They differ from version to version.
        *(f"{name}=={version(name)}" for name in ("mypy", "django-stubs")),
        *pyproject()["dependency-groups"]["types"],
    )
    return environment


@pytest.mark.slow(SLOW)
def test_a_users_program_has_the_types_that_it_says(environment: Environment) -> None:
    # Each mistake in its mistakes.py has a mark, and one too many is an error.
    environment.run("-m", "mypy")
    environment.run("-m", "pyright", "--pythonpath", str(environment.python))


@pytest.mark.slow(SLOW)
def test_the_same_program_runs(environment: Environment) -> None:
    environment.run("-m", "django", "test", "--settings", "users_settings", "kennel")
