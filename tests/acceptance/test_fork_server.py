"""Commands of tests are forked from a process that nobody else should notice."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.fork_server import popen
from tests.support.projects import ROOT, clean_environment

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
