from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from eventsourcing.persistence import InfrastructureFactoryError

from eventsourcing_eventstoredb import EventStoreDBFactory, client_library
from eventsourcing_eventstoredb.client_library import (
    ESDBCLIENT,
    KURRENTDBCLIENT,
    LIBRARIES,
    VARIABLE,
    ClientLibraryError,
    choose,
    load,
)
from tests.support.projects import ROOT

PACKAGES = ("django_esdb", "eventsourcing_eventstoredb")
URI = "esdb://localhost:2113?Tls=false"

# Each knows both libraries, and is where all others have it from.
IMPORTING = {
    "benchmarks/support/client_library.py",
    "eventsourcing_eventstoredb/protocol/generated.py",
    "eventsourcing_eventstoredb/server/services/messages.py",
    "tests/support/client_library.py",
}


class World:
    """What is installed and imported, as far as the choice can see."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._installed: set[str] = set()
        for name in list(sys.modules):
            if name.partition(".")[0] in LIBRARIES:
                patch.delitem(sys.modules, name)
        patch.delenv(VARIABLE, raising=False)
        patch.setattr(client_library, "_loaded", None)
        patch.setattr(client_library, "find_spec", self._find)
        patch.setattr(client_library.importlib, "import_module", self.imports)

    def _find(self, name: str) -> ModuleSpec | None:
        return ModuleSpec(name, None) if name in self._installed else None

    def has(self, *names: str) -> None:
        self._installed.update(names)

    def imports(self, name: str) -> None:
        self._patch.setitem(sys.modules, name, ModuleType(name))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_one_that_is_installed_is_used(world: World, name: str) -> None:
    world.has(name)

    assert choose() == name


def test_esdbclient_comes_first(world: World) -> None:
    world.has(*LIBRARIES)

    assert choose() == ESDBCLIENT


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_variable_decides(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.has(*LIBRARIES)
    monkeypatch.setenv(VARIABLE, name)

    assert choose() == name


def test_an_empty_variable_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.has(KURRENTDBCLIENT)
    monkeypatch.setenv(VARIABLE, "")

    assert choose("") == KURRENTDBCLIENT


@pytest.mark.parametrize("module", [KURRENTDBCLIENT, f"{KURRENTDBCLIENT}.protos"])
def test_what_was_imported_is_used(world: World, module: str) -> None:
    world.has(*LIBRARIES)
    world.imports(module)

    assert choose() == KURRENTDBCLIENT


def test_what_was_loaded_holds_against_the_variable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.has(*LIBRARIES)
    monkeypatch.setenv(VARIABLE, ESDBCLIENT)

    assert load(KURRENTDBCLIENT) == KURRENTDBCLIENT
    assert choose() == KURRENTDBCLIENT
    with pytest.raises(ClientLibraryError, match="has imported kurrentdbclient"):
        choose(ESDBCLIENT)


@pytest.mark.parametrize(
    ("installed", "imported", "wanted", "said"),
    [
        ((), (), None, "no client library is installed: install kurrentdbclient"),
        ((), (), ESDBCLIENT, "'esdbclient', but esdbclient is not installed"),
        ((ESDBCLIENT,), (), KURRENTDBCLIENT, "but kurrentdbclient is not installed"),
        (LIBRARIES, (), "esdb", "'esdb', but must be esdbclient or kurrentdbclient"),
        (LIBRARIES, (), "x\n" * 99, "but must be esdbclient or kurrentdbclient"),
        (LIBRARIES, LIBRARIES, None, "esdbclient and kurrentdbclient were both imp"),
        (LIBRARIES, LIBRARIES, ESDBCLIENT, "both imported, but a process can have one"),
        (LIBRARIES, (ESDBCLIENT,), KURRENTDBCLIENT, "has imported esdbclient"),
        (LIBRARIES, (KURRENTDBCLIENT,), ESDBCLIENT, "has imported kurrentdbclient"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    world: World,
    installed: tuple[str, ...],
    imported: tuple[str, ...],
    wanted: str | None,
    said: str,
) -> None:
    world.has(*installed)
    for name in imported:
        world.imports(name)

    with pytest.raises(ClientLibraryError) as error:
        choose(wanted)

    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1

    env = {"EVENTSTOREDB_URI": URI} | ({VARIABLE: wanted} if wanted else {})
    with pytest.raises(InfrastructureFactoryError) as refused:
        EventStoreDBFactory(env)
    assert str(error.value) in str(refused.value)


def test_nothing_else_imports_a_client_library() -> None:
    """What did would not run with the other one."""
    imports = re.compile(rf"^\s*(from|import) ({'|'.join(LIBRARIES)})\b", re.MULTILINE)

    found = {
        path.relative_to(ROOT).as_posix()
        for folder in (*PACKAGES, "benchmarks", "example_project", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if imports.search(path.read_text(encoding="utf-8"))
    }

    assert found == IMPORTING
