"""
Makes the pictures of the admin's pages that are in the docs: ``make pictures``.

The pages are those of the example's site, on a database of its own that is filled for
the occasion, in a real browser.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
# Each with its page, its width, and which colours the user prefers.
_OF_PROJECTIONS = {
    "dashboard": ("/admin/django_esdb/", 1280, "light"),
    "dashboard-phone": ("/admin/django_esdb/", 390, "dark"),
    "reset": (
        "/admin/django_esdb/projectiontracking/operations/reset/"
        "TrainingSchoolProjection/",
        1280,
        "light",
    ),
    "projection": ("/admin/django_esdb/projectiontracking/1/change/", 1280, "light"),
}
_OF_EVENTS = {
    "failed-events": ("/admin/django_esdb/failedevent/groups/", 1280, "light"),
    "failed-event": ("/admin/django_esdb/failedevent/4/change/", 1280, "light"),
    "stored-events": ("/admin/django_esdb/storedevent/", 1280, "light"),
}
PICTURES = {**_OF_PROJECTIONS, **_OF_EVENTS}
_TALLEST = 1400


@contextmanager
def _site() -> Iterator[str]:
    """Run the example's site with a filled database; yields its address."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()

    from django.contrib.auth.models import User
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.db import connection
    from django.test.testcases import LiveServerThread
    from django.test.utils import override_settings, setup_test_environment

    from django_esdb.applications.shared import close_applications
    from eventsourcing_eventstoredb.server import EmbeddedServer
    from tests.support.dashboards import more_projections

    setup_test_environment(debug=False)
    connection.creation.create_test_db(verbosity=0)
    User.objects.create_superuser("admin", password="woof-woof")
    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    with (
        more_projections(),
        EmbeddedServer() as store,
        override_settings(ESDB_URI=store.uri),
    ):
        server.start()
        server.is_ready.wait()
        try:
            if server.error:
                raise server.error
            yield f"http://127.0.0.1:{server.port}"
        finally:
            server.terminate()
            close_applications()
            connection.close()
            connection.creation.destroy_test_db("", verbosity=0)


def main(folder: Path) -> str:
    """Write the pictures; return what is wrong, or an empty text."""
    from tests.support.browsers import CHROMEDRIVER, CHROMIUM, browsing

    if not (CHROMIUM and CHROMEDRIVER):
        return "Pictures need chromium and chromedriver in PATH"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        _site() as url,
        browsing(url, Path(profile)) as browser,
    ):
        # Loads models, which cannot be before the site is there.
        from tests.support import filled_site
        from tests.support.dashboards import fill

        browser.log_in("admin", "woof-woof", "/admin/")
        for name, (page, width, scheme) in PICTURES.items():
            # What was measured long ago is shown as old.
            fill()
            if name == next(iter(_OF_EVENTS)):
                filled_site.fill()
            browser.prefer(scheme)
            browser.resize(width)
            browser.visit(page)
            height = browser.driver.execute_script(
                "return document.documentElement.scrollHeight"
            )
            browser.resize(width, min(height, _TALLEST))
            path = folder / f"{name}.png"
            browser.driver.save_screenshot(str(path))
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER) or 0)
