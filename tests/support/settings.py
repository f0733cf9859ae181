"""
Settings of the test process: the example's apps on the database under test.

``DATABASE_URL`` says which one; SQLite if it is not set.
"""

from __future__ import annotations

import importlib.util

import environ

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS
from tests.support.databases import SQLITE_URL

env = environ.Env()

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.rows_app"]
if importlib.util.find_spec("eventsourcing_django"):
    INSTALLED_APPS += ["eventsourcing_django"]

DATABASES = {"default": env.db_url("DATABASE_URL", default=SQLITE_URL)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # No test takes the power away, and to wait for the disk is most of a commit.
        "init_command": "PRAGMA synchronous=OFF",
    }
else:
    # What waits for a lock that is never released fails, rather than to wait for ever,
    # or for a day, as it is with MariaDB's locks on tables.
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        **(
            {"options": "-c lock_timeout=60s -c synchronous_commit=off"}
            if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
            else {"init_command": "SET lock_wait_timeout = 60"}
        ),
    }

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests say themselves where their event store is.
ESDB_URI = None
