"""The end of a process whose threads hang."""

from __future__ import annotations

import subprocess
import sys

from django_esdb.runner.time_limits import endings

# The module alone, since Django takes its time.
SCRIPT = """
import importlib.util, logging, sys, threading

spec = importlib.util.spec_from_file_location("endings", sys.argv[1])
endings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(endings)
endings._FLUSH_SECONDS = 0.5
handler = logging.StreamHandler()
logging.getLogger().addHandler(handler)
has_lock, never = threading.Event(), threading.Event()

def hang():
    with handler.lock:
        has_lock.set()
        never.wait()

threading.Thread(target=hang).start()
has_lock.wait()
sys.stdout.write("said before")
endings.end_process(5, lambda: logging.error("not said any more"))
"""


def test_a_thread_that_hangs_with_a_logs_lock_does_not_keep_it_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, endings.__file__],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (5, "said before"), done.stderr
