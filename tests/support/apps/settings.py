"""
The example's settings with what a test wants to be different.

``TEST_APPS`` names apps of this folder to install with the example's;
``TEST_PLAIN`` leaves the example's app out; ``TEST_REPORTS_DATABASE_URL`` adds
a second database, which then has the example's read models;
``TEST_TOPIC_ALLOWLIST`` has what ``ESDB_TOPIC_ALLOWLIST`` is to have;
``TEST_PATH`` is a folder whose modules can be imported, too.
"""

from __future__ import annotations

import sys

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, INSTALLED_APPS, env

INSTALLED_APPS = [
    *(
        app
        for app in INSTALLED_APPS
        if not (env.bool("TEST_PLAIN", default=False) and app.startswith("example"))
    ),
    *(f"tests.support.apps.{app}" for app in env.list("TEST_APPS", default=[])),
]
if env.bool("TEST_PLAIN", default=False):
    ROOT_URLCONF = "django.contrib.admin.sites"

if url := env.str("TEST_REPORTS_DATABASE_URL", default=""):
    DATABASES["reports"] = env.db_url_config(url)
    DATABASE_ROUTERS = ["tests.support.apps.router.ReadModelRouter"]

sys.path += env.list("TEST_PATH", default=[])

ESDB_URI = env.str("EVENTSTOREDB_URI", default=None)
ESDB_TOPIC_ALLOWLIST = env.list("TEST_TOPIC_ALLOWLIST", default=None)
