"""Commands of tests are forked from a process that tests should not notice."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fork_server import popen
from tests.support.projects import ROOT, Project, clean_environment, example_on

# It takes both signals, as stress does, and starts a process while they come.
_ASKING = """
import os, signal, sys, threading
from pathlib import Path
from tests.support.fork_server import popen

number, came = int(sys.argv[1]), []
signal.signal(number, lambda *_: came.append(number))
threading.Timer(float(sys.argv[2]), os.killpg, (0, number)).start()
process = popen(["-c", "print('forked')"], os.environ, Path.cwd())
assert process.communicate()[0] == "forked\\n"
assert came == [number]
forked = popen(["-c", "import time; time.sleep(60)"], os.environ, Path.cwd())
os.killpg(0, number)
with forked:
    assert forked.wait(30)
print("both")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_signals_to_the_group_end_what_was_forked_and_not_what_forks(
    number: signal.Signals, seconds: float
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _ASKING, str(int(number)), str(seconds)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )

    assert result.stdout == "both\n", result.stderr


# An object of its own, one in a cycle, and a module that was not imported before.
_ENDING = """
import sys, types

class Told:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        print(self.name, flush=True)

own, cycle = Told("own"), Told("in a cycle")
cycle.itself = cycle
module = types.ModuleType("module")
module.told = Told("a module's")
sys.modules["module"] = module
del module
"""


def test_what_a_process_has_made_is_destroyed_at_its_end() -> None:
    process = popen(["-c", _ENDING], clean_environment(), ROOT)

    said, errors = process.communicate()

    assert sorted(said.splitlines()) == ["a module's", "in a cycle", "own"], errors


# What depends on its environment, or on what it was forked from.
_STATE = """
import logging, os, sys, threading, time
from django.apps import apps
from django.conf import settings
from django.db import connection, connections
from django.utils import translation
from django_esdb.registry import registry

print({
    # First, since it completes what the settings say of it.
    "databases": connections.settings,
    "connection": (connection.settings_dict, connection.connection),
    "settings": {
        name: repr(getattr(settings, name)) for name in dir(settings) if name.isupper()
    },
    "models": sorted(each._meta.db_table for each in apps.get_models()),
    "projections": sorted(map(str, registry)),
    "language": translation.get_language(),
    "zone": time.tzname,
    "handlers": repr([type(each) for each in logging.getLogger("django").handlers]),
    "process": (sys.argv, os.getcwd(), dict(os.environ), threading.active_count()),
})
"""
_IS_SET_UP_BEFORE = """
import sys
print("django_esdb.management.commands.runprojections" in sys.modules)
"""


def _other_project(folder: Path, **env: str) -> Project:
    project = example_on(f"sqlite:///{folder / 'other.sqlite3'}", "esdb://other:1")
    project.env |= env
    return project


def _state(project: Project, *, fresh: bool = False) -> Any:
    return ast.literal_eval(project.python(_STATE, fresh=fresh))


def test_what_is_forked_after_the_set_up_is_as_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    one = _other_project(tmp_path / "one")
    others = [
        _other_project(tmp_path, EVENTSTOREDB_URI="esdb://another:2", ESDB_RETRIES="7"),
        # These are set up by themselves.
        _other_project(tmp_path, EXAMPLE_SHOWCASE="yes", DJANGO_LANGUAGE_CODE="de"),
        _other_project(
            tmp_path, DJANGO_SETTINGS_MODULE="tests.support.fault_injection.settings"
        ),
    ]
    for _ in range(2):
        one.python("")

    assert one.python(_IS_SET_UP_BEFORE) == "True\n"
    assert others[0].python(_IS_SET_UP_BEFORE) == "True\n"
    for other in others:
        expected = _state(other, fresh=True)
        # The last one at least is forked from one that has set up.
        for _ in range(2):
            assert _state(other) == expected
        assert other.python(_IS_SET_UP_BEFORE) == "True\n"


def test_errors_of_the_set_up_are_each_processs_own(tmp_path: Path) -> None:
    good = _other_project(tmp_path)
    bad = _other_project(tmp_path, ESDB_RETRIES="many")
    missing = _other_project(tmp_path, DJANGO_SETTINGS_MODULE="tests.support.missing")
    for _ in range(3):
        good.python("")

    for project, error in [(bad, "ValueError"), (missing, "ModuleNotFoundError")]:
        for _ in range(3):
            result = project.manage("check", check=False)
            assert result.returncode == 1
            assert f"\n{error}: " in result.stderr
