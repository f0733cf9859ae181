"""
``pytest --store URI``: what runs with an event store that is there, and what does not.

Registered as a plugin by such a run alone. At the end it says what was left out and
why.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any, Final

import pytest
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from eventsourcing_eventstoredb import EventStoreDBFactory

_LEFT_OUT: Final = "left_out"
_NEEDS_NONE: Final = "needs no event store, or makes one of its own"


class StoreRun:
    """
    Selects tests that any event store will do for, and counts the others by reason.

    Args:
        uri: The event store's connection string.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._left_out: Counter[str] = Counter()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """End the run at once, with one line, where the store cannot be used."""
        if _is_worker(session.config):
            return
        try:
            _look_at(self._uri)
        except (InfrastructureFactoryError, PersistenceError) as error:
            # The text names the nodes, and no password.
            msg = f"--store: {error}"
            raise pytest.UsageError(msg) from None

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        reasons = [reason_to_leave_out(item) for item in items]
        self._left_out.update(filter(None, reasons))
        left_out = [item for item, why in zip(items, reasons, strict=True) if why]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [i for i, why in zip(items, reasons, strict=True) if not why]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _is_worker(session.config):
            session.config.workeroutput[_LEFT_OUT] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's numbers: each has collected all tests, the main one none."""
        self._left_out = Counter(node.workeroutput.get(_LEFT_OUT, self._left_out))

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        terminalreporter.section("left out with an event store that runs")
        for reason, number in self._left_out.most_common():
            terminalreporter.line(f"{number:6} {reason}")


def _look_at(uri: str) -> None:
    with closing(EventStoreDBFactory({"EVENTSTOREDB_URI": uri})) as factory:
        factory.application_recorder().max_notification_id()


def reason_to_leave_out(item: pytest.Item) -> str:
    """Return why a test does not run with any store; empty if it does."""
    uses = getattr(item, "fixturenames", ())
    marker = item.get_closest_marker("own_store")
    if "server" in item.path.relative_to(item.config.rootpath).parts:
        return "is about the embedded server"
    if "store" in uses:
        return "stops, kills or freezes its event store"
    if "cluster" in uses:
        return "needs a cluster whose nodes it can end"
    if marker is not None:
        return f"needs an event store of its own: {marker.args[0]}"
    if "server" not in uses:
        return _NEEDS_NONE
    return ""


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workeroutput")
