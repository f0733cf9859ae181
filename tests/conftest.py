from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import translation

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support import emptying, hypothesis_profiles
from tests.support.client_library import EventStoreDBClient
from tests.support.cluster import Cluster
from tests.support.cpu import CpuTimes
from tests.support.databases import (
    SQLITE_URL,
    WITHOUT_DATABASE,
    copied_database,
    template_database,
)
from tests.support.event_stores import EventStore
from tests.support.projects import Project, example, example_on
from tests.support.running_stores import running_store, store_variables
from tests.support.school import registration, school, school_projection
from tests.support.store_runs import StoreRun
from tests.support.time_limits import TimeLimits

pytest_plugins = ["django_esdb.pytest_plugin"]

__all__ = ["registration", "school", "school_projection"]

DATABASE_URL = os.environ.get("DATABASE_URL", SQLITE_URL)

_HERE = Path(__file__).parent
# More is slow, and has to be marked as such.
_SLOW_SECONDS = 5
# For pytest's own limit to be first.
_GRACE_SECONDS = 10
_DATABASE_FIXTURES = {"db", "transactional_db", "project"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        metavar="URI",
        help="run what needs an event store with one that runs, and nothing else",
    )
    parser.addoption(
        "--cpu", action="store_true", help="tell the CPU seconds of each file of tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis_profiles.load(is_sqlite=DATABASE_URL.startswith("sqlite"))
    emptying.use()
    limit = float(config.getini("faulthandler_timeout") or 0)
    if limit and hasattr(signal, "setitimer"):
        config.pluginmanager.register(TimeLimits(limit + _GRACE_SECONDS))
    if config.getoption("--cpu"):
        config.pluginmanager.register(CpuTimes())
    if uri := config.getoption("--store"):
        config.pluginmanager.register(StoreRun(uri))


def pytest_runtest_teardown() -> None:
    """A request leaves its language to the thread, which is the next test's too."""
    translation.deactivate()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """
    Measure no coverage of what draws examples.

    It runs the same lines by the thousand, which takes twice as long with coverage;
    other tests run them as well.
    """
    trace = sys.gettrace() if item.get_closest_marker("hypothesis") else None
    if trace is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)


def pytest_report_header(config: pytest.Config) -> str:
    store = "one that runs" if config.getoption("--store") else "embedded"
    return f"database: {DATABASE_URL.partition(':')[0]}, event store: {store}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """
    Make no search for garbage among what stays till the end, here or later.

    Thousands of tests and all modules are looked through again and again otherwise.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Mark each with its kind, and what uses a database, which runs on each of them."""
    for item in items:
        kind, is_without_database = _place(item.path)
        item.add_marker(kind)
        for name in ("slow", "own_store"):
            marker = item.get_closest_marker(name)
            if marker is not None and not marker.args:
                msg = f"{item.nodeid}: say why, @pytest.mark.{name}(reason)"
                raise pytest.UsageError(msg)
        uses = set(getattr(item, "fixturenames", ()))
        uses_database = bool(
            uses & _DATABASE_FIXTURES or item.get_closest_marker("django_db")
        )
        if kind == "unit" and (uses_database or "server" in uses):
            msg = f"{item.nodeid} uses a database or server: it is no unit test"
            raise pytest.UsageError(msg)
        if uses_database and not item.get_closest_marker("any_database"):
            if is_without_database:
                msg = f"{item.nodeid}: would not run on each database, where it lies"
                raise pytest.UsageError(msg)
            item.add_marker("database")


@cache
def _place(path: Path) -> tuple[str, bool]:
    """Return the kind of a file's tests, and whether they are to use no database."""
    return path.relative_to(_HERE).parts[0], any(
        path.is_relative_to(_HERE / each) for each in WITHOUT_DATABASE
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests are slow without being marked; on a busy machine some are."""
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and "slow" not in report.keywords:
                before = seconds.get(report.nodeid, 0)
                seconds[report.nodeid] = before + report.duration
    slow = {node: s for node, s in seconds.items() if s > _SLOW_SECONDS}
    if slow:
        terminalreporter.section(f"over {_SLOW_SECONDS} s, and not marked as slow")
        for node, duration in sorted(slow.items(), key=lambda each: -each[1]):
            terminalreporter.line(f"{duration:6.1f}s {node}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """A store in another process: nothing that it does wakes gRPC in this one."""
    store = EventStore(tmp_path)
    store.start()
    yield store
    store.kill()


@pytest.fixture(scope="session", autouse=True)
def _own_subchannels() -> Iterator[None]:
    """
    Keep clients apart from earlier ones.

    Channels to one address share a connection, and its pause after a failure;
    a server on a free port may get the port of one that is gone.
    """
    construct = EventStoreDBClient._construct_grpc_channel

    def construct_apart(self: Any, target: str, options: Any = ()) -> Any:
        options = (*options, ("grpc.use_local_subchannel_pool", 1))
        return construct(self, target, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventStoreDBClient, "_construct_grpc_channel", construct_apart)
        yield


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """
    An event store: an empty one of the test's own.

    It is in the test's process, unless the test asks for the ``store`` as well: then it
    is that one. With ``--store`` it is one that runs already, holds other events, and
    cannot be stopped; then applications and recorders have streams of their own in it.
    """
    if "store" in request.fixturenames:
        yield request.getfixturevalue("store")
        return
    uri = request.config.getoption("--store")
    with running_store(uri) if uri else EmbeddedServer() as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of three nodes, processes, over an empty store of the test's own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def run_folder(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """A folder that all workers of this run know, and no other run."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if hasattr(request.config, "workerinput") else folder


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: Any,
    run_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """The database of this process: migrated once for all workers, and copied."""
    database = connection.settings_dict

    def use(url: str) -> None:
        connection.close()
        database["NAME"] = environ.Env.db_url_config(url)["NAME"]

    def migrate(url: str) -> None:
        use(url)
        call_command("migrate", verbosity=0, run_syncdb=True)
        connection.close()

    template = run_folder / "test-database"
    folder = tmp_path_factory.mktemp("test-database")
    with django_db_blocker.unblock(), ExitStack() as stack:
        url = stack.enter_context(template_database(DATABASE_URL, template, migrate))
        use(stack.enter_context(copied_database(url, folder)))
        with django_db_blocker.block():
            yield
        emptying.close()
        connection.close()


@pytest.fixture(scope="session")
def migrated(run_folder: Path) -> Iterator[str]:
    """The URL of a database with the example's tables, to be copied."""

    def migrate(url: str) -> None:
        example(url, "esdb://localhost:1?Tls=false")

    with template_database(DATABASE_URL, run_folder / "migrated", migrate) as url:
        yield url


@pytest.fixture
def project(server: EmbeddedServer, migrated: str, tmp_path: Path) -> Iterator[Project]:
    """The example project, migrated, on a new database and an empty store."""
    with copied_database(migrated, tmp_path) as url:
        project = example_on(url, server.uri)
        project.env |= store_variables(server)
        yield project
