"""Each extra brings what it promises, into an environment in which nothing else is."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import django_esdb
from tests.support.building import Built, pyproject
from tests.support.environments import Environment
from tests.support.pairs import find_pythons
from tests.support.projects import ROOT

PROJECT = pyproject()["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])

# All that a distribution can be imported as.
IMPORT_ALL = """
import importlib, sys
from importlib.metadata import packages_distributions
wanted = {name.lower().replace("_", "-") for name in sys.argv[1:]}
found = set()
for module, names in packages_distributions().items():
    distributions = {name.lower().replace("_", "-") for name in names}
    if wanted & distributions and module.isidentifier():
        importlib.import_module(module)
        found |= distributions
assert wanted <= found, wanted - found
"""

SETTINGS = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_esdb"], ESDB_URI="esdb://localhost?Tls=false")
django.setup()
"""

# What this package does with them.
USES = {
    "eventsourcing-django": """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["eventsourcing_django", "django_esdb"])
django.setup()
from eventsourcing_django.factory import Factory
""",
    "mariadb": SETTINGS + "import django.db.backends.mysql.base",
    "opentelemetry": SETTINGS
    + "from django_esdb.contrib.opentelemetry import instrument; instrument()",
    "postgresql": SETTINGS
    + """
import django.db.backends.postgresql.base
import eventsourcing.postgres
from psycopg import pq
from psycopg_pool import ConnectionPool
assert pq.__impl__ == "binary", pq.__impl__
""",
    "prometheus": SETTINGS
    + "from django_esdb.contrib.prometheus import MetricsServer; MetricsServer",
}

# Without any of them.
SAVES_AND_READS = """
import os
from uuid import UUID
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing_eventstoredb.server import EmbeddedServer

class Dog(Aggregate):
    INITIAL_VERSION = 0
    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name

os.environ["PERSISTENCE_MODULE"] = "eventsourcing_eventstoredb"
with EmbeddedServer() as server:
    os.environ["EVENTSTOREDB_URI"] = server.uri
    app = Application[UUID]()
    dog = Dog("Fido")
    app.save(dog)
    assert app.repository.get(dog.id).name == "Fido"
    app.close()
"""

# The first Pythons with which pip finds versions that fit together.
FIRST_PYTHON = {"eventsourcing-django": (3, 12), "kurrentdb": (3, 14)}
TOO_OLD = [extra for extra in FIRST_PYTHON if sys.version_info < FIRST_PYTHON[extra]]


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the package is, for copies."""
    environment = Environment(tmp_path_factory.mktemp("installed") / "environment")
    environment.install(str(built.wheel))
    # What that compiles is copied, too.
    environment.run("-c", SAVES_AND_READS)
    return environment


@pytest.fixture
def environment(installed: Environment, tmp_path: Path) -> Environment:
    """An environment in which the package is, and what it cannot be without."""
    return installed.copy(tmp_path / "environment")


def python_for(extra: str) -> str:
    """Return an interpreter with which an extra can be installed."""
    if extra not in TOO_OLD:
        return sys.executable
    major, minor = FIRST_PYTHON[extra]
    pythons = find_pythons(f"{major}.{each}" for each in range(minor, 16))
    if not pythons:
        pytest.skip(f"there is no Python {major}.{minor} or newer here")
    return next(iter(pythons.values()))


def distributions(extra: str) -> list[str]:
    """Return the names of what an extra installs by itself."""
    wanted = map(Requirement, PROJECT["optional-dependencies"][extra])
    # Extras may be made of extras.
    return [each.name for each in wanted if each.name != PROJECT["name"]]


@pytest.mark.slow("installs the wheel, and what it requires")
def test_no_extra_is_needed(environment: Environment) -> None:
    environment.run("-c", SAVES_AND_READS)
    said = environment.run("-m", "eventsourcing_eventstoredb.server", "--version")
    assert said == f"django-esdb {django_esdb.__version__}\n"
    # What says which extra is missing knows its name.
    for extra in ("opentelemetry", "prometheus"):
        code = f"""{SETTINGS}
from django_esdb.exceptions import MissingExtraError
try:
    import django_esdb.contrib.{extra}
except MissingExtraError as error:
    print(error)
"""
        assert f"install django-esdb[{extra}]\n" in environment.run("-c", code)


@pytest.mark.slow("installs the wheel, and what an extra requires")
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_it_promises(
    built: Built, request: pytest.FixtureRequest, tmp_path: Path, extra: str
) -> None:
    if (python := python_for(extra)) == sys.executable:
        environment = request.getfixturevalue("environment")
    else:
        environment = Environment(tmp_path / "environment", python)
    if extra == "mariadb" and not (shutil.which("gcc") and shutil.which("pkg-config")):
        pytest.skip("MariaDB's driver cannot be compiled here")

    environment.install(f"{built.wheel}[{extra}]")

    environment.run("-c", IMPORT_ALL, *distributions(extra))
    environment.run("-c", USES.get(extra, SETTINGS))
    environment.run("-c", SAVES_AND_READS)


@pytest.mark.slow("asks pip for what does not fit together")
@pytest.mark.parametrize("extra", TOO_OLD)
def test_an_extra_that_cannot_be_had_says_so_where_it_is_described(
    built: Built, environment: Environment, extra: str
) -> None:
    refused = environment.try_to_install(f"{built.wheel}[{extra}]")

    assert "conflicting dependencies" in refused.stderr
    text = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{extra}` \|.*", text, re.MULTILINE)
    assert "From Python {}.{} on".format(*FIRST_PYTHON[extra]) in row


@pytest.mark.slow("installs the wheel, and another client library")
@pytest.mark.skipif("kurrentdb" not in TOO_OLD, reason="there is no esdbclient")
def test_the_client_library_can_be_exchanged(environment: Environment) -> None:
    # As docs/clients.md says.
    environment.uninstall("esdbclient")
    environment.install(*PROJECT["optional-dependencies"]["kurrentdb"])

    environment.run("-c", "import kurrentdbclient" + SAVES_AND_READS)


def test_what_is_said_here_is_about_extras_that_there_are() -> None:
    assert {*USES, *FIRST_PYTHON} <= set(EXTRAS)
