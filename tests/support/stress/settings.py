"""The example's settings, with a journal of what was processed."""

from __future__ import annotations

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.stress.journal"]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Shorter than others hold the lock at times, so that waiting for it fails, too.
    DATABASES["default"]["OPTIONS"] |= {"timeout": 1}
