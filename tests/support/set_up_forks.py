"""
What the fork server does to have Django set up before it forks commands.

To set it up reads settings, and these the environment. So commands share it only if
their environments are the same but for a few variables, of which is known what depends
on them: what they changed is forgotten in the new process, which reads them as ever.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# What a caller's code begins with if Django is to be set up for it.
SETUP = "import django; django.setup()\n"
# Nothing but the settings keeps what they say, and connections, which are made anew. Of
# a database its kind is what models depend on: how long the names of tables may be.
_READ_LATER = {
    "DATABASE_URL",
    "ESDB_LEASE_SECONDS",
    "ESDB_RETRIES",
    "EVENTSTOREDB_URI",
    "FAULTS_DIRECTORY",
    "FAULTS_EVENT_SECONDS",
    "FAULTS_HANG",
    "PYTEST_CURRENT_TEST",
}
_SETTINGS_OF = ("example_project.", "tests.support.")

Key = frozenset[tuple[str, str]]


def key(arguments: list[str], env: Mapping[str, str], cwd: Path) -> Key | None:
    """Return what is the same in commands that may share it; None for no other one."""
    is_command = arguments[0] == str(_ROOT / "manage.py") and not any(
        each.startswith(("--settings", "--pythonpath")) for each in arguments
    )
    is_code = arguments[0] == "-c" and arguments[1].startswith(SETUP)
    settings = env.get("DJANGO_SETTINGS_MODULE", "")
    if cwd != _ROOT or not (is_command or is_code) or "DATABASE_URL" not in env:
        return None
    if not settings.startswith(_SETTINGS_OF):
        return None
    kind = env["DATABASE_URL"].partition(":")[0]
    others = {name: value for name, value in env.items() if name not in _READ_LATER}
    return frozenset({**others, "DATABASE_URL": kind}.items())


def set_up() -> None:
    """Set Django up by this process's environment, and import what most commands do."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import get_commands
    from django.db.migrations.loader import MigrationLoader

    for name, app in get_commands().items():
        if isinstance(app, str) and not app.startswith("django."):
            importlib.import_module(f"{app}.management.commands.{name}")
    MigrationLoader(None, ignore_no_migrations=True)
    importlib.import_module(settings.ROOT_URLCONF)


def forget_settings() -> None:
    """Have the settings evaluated once more by what asks for them next."""
    from django.conf import empty, settings
    from django.db import connections

    for name in [name for name in sys.modules if name.startswith(_SETTINGS_OF)]:
        package, _, last = name.rpartition(".")
        if last == "settings":
            del sys.modules[name]
            delattr(sys.modules[package], last)
    vars(settings).clear()
    settings._wrapped = empty
    vars(connections).clear()
    connections.__init__()  # type: ignore[misc]


def replace_environment(env: Mapping[str, str]) -> None:
    """Have this process's environment be another one."""
    os.environ.clear()
    os.environ.update(env)
