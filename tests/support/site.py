"""The example site with what it needs, as tests get it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver

from django_esdb.admin import event_reading
from django_esdb.applications.shared import close_applications
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.browsers import Browser, chromium, new_tab
from tests.support.content_policy import CONTENT_POLICY


@pytest.fixture
def site_store(server: EmbeddedServer, settings: Any) -> Iterator[EmbeddedServer]:
    """The event store that the site's settings name."""
    settings.ESDB_URI = server.uri
    yield server
    close_applications()


@pytest.fixture(scope="session")
def chromium_driver(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[webdriver.Chrome]:
    """A browser for all tests of this process, since beginning one takes long."""
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def strict_browser(
    chromium_driver: webdriver.Chrome,
    site_store: EmbeddedServer,
    transactional_db: None,
    live_server: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Browser]:
    """A browser, as if it was new, at the site under a strict policy for contents."""
    settings.MIDDLEWARE = [CONTENT_POLICY, *settings.MIDDLEWARE]
    # The machine is shared.
    settings.ESDB_WEB_DEADLINE = 60.0
    monkeypatch.setattr(event_reading, "SECONDS", 60.0)
    with new_tab(chromium_driver, live_server.url) as browser:
        yield browser
