"""What is distributed, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest
from eventsourcing.persistence import InfrastructureFactory

import django_esdb
import eventsourcing_eventstoredb
from tests.support.building import Built, pyproject, tracked
from tests.support.projects import ROOT, clean_environment

PACKAGES = ("django_esdb", "eventsourcing_eventstoredb")

# What gRPC and its messages are made of.
_GRPC = ("grpc", "esdbclient", "kurrentdbclient", "google.protobuf")
# What makes commands' tables; it takes a while to load, too.
_RICH = ("rich",)


@pytest.fixture(scope="module")
def wheel(built: Built) -> zipfile.ZipFile:
    return zipfile.ZipFile(built.wheel)


@pytest.fixture(scope="module")
def sdist(built: Built) -> set[str]:
    """The files of the sdist, named from its root."""
    with tarfile.open(built.sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def loaded_modules(code: str) -> set[str]:
    """Return the modules that a new process has loaded after running *code*."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env={
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_the_wheel_has_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_has_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files <= set(wheel.namelist())
    assert "django_esdb/migrations/0001_initial.py" in files
    assert {name for name in files if name.endswith(".mo")} == {
        f"django_esdb/locale/{language}/LC_MESSAGES/django.mo"
        for language in ("de", "fr")
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= files


def test_the_wheel_says_what_pyproject_says(wheel: zipfile.ZipFile) -> None:
    project = pyproject()["project"]
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())

    assert metadata["Name"] == project["name"]
    assert metadata["Version"] == project["version"] == django_esdb.__version__
    assert eventsourcing_eventstoredb.__version__ == django_esdb.__version__
    assert metadata["License-Expression"] == project["license"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert str(metadata.get_payload()).strip() == readme.strip()
    required = [r for r in metadata.get_all("Requires-Dist", []) if "extra" not in r]
    assert len(required) == len(project["dependencies"])
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert urls == project["urls"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(
        project["optional-dependencies"]
    )
    assert any(n.endswith("LICENSE") for n in wheel.namelist())


def test_the_sdist_has_what_is_tracked_and_nothing_else(sdist: set[str]) -> None:
    if not tracked():
        pytest.skip("an archive of the code does not say what is tracked")

    assert sdist == {"PKG-INFO", *tracked()}


@pytest.mark.parametrize(
    "code",
    [
        "import django_esdb",
        "import eventsourcing_eventstoredb",
        "import django; django.setup()",
        "import django; django.setup(); import django_esdb.testing",
        "from django.core.management import execute_from_command_line as run\n"
        "import os; os.environ['EVENTSTOREDB_URI'] = 'esdb://localhost?Tls=false'\n"
        "run(['manage.py', 'check'])",
    ],
    ids=["django_esdb", "eventsourcing_eventstoredb", "setup", "testing", "check"],
)
def test_grpc_and_rich_are_not_loaded_before_they_are_needed(code: str) -> None:
    loaded = loaded_modules(code)

    assert not [m for m in loaded if m.startswith((*_GRPC, *_RICH))]


def test_no_pytest_is_needed_where_none_is_used() -> None:
    loaded = loaded_modules("import django; django.setup(); import django_esdb.testing")

    assert not [m for m in loaded if m.partition(".")[0] in ("pytest", "_pytest")]
    assert "django_esdb.testing" not in loaded_modules("import django_esdb")


def test_the_persistence_module_loads_no_django() -> None:
    loaded = loaded_modules(
        "import eventsourcing_eventstoredb\n"
        "import eventsourcing_eventstoredb.recorders.application\n"
        "import eventsourcing_eventstoredb.protocol.clients\n"
        "import eventsourcing_eventstoredb.server.cli"
    )

    assert not [m for m in loaded if m.partition(".")[0] in ("django", "django_esdb")]


def test_the_persistence_module_exposes_one_factory() -> None:
    factories = [
        value
        for value in vars(eventsourcing_eventstoredb).values()
        if isinstance(value, type) and issubclass(value, InfrastructureFactory)
    ]

    assert factories == [eventsourcing_eventstoredb.EventStoreDBFactory]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_says_it_exports_is_there(package: str) -> None:
    loaded_modules(f"from {package} import *")
