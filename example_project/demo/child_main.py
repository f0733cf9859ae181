"""
A management command that ends with the process that started it.

Its standard input is a pipe that the parent holds open. When the parent is
gone, even if it was killed, the pipe ends, and so does this process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from django.core.management import execute_from_command_line

_PATIENCE_SECONDS = 10.0


def main() -> None:
    """Run the command that the arguments say."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    execute_from_command_line(["manage.py", *sys.argv[1:]])


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock would be in the way when the process ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # The command may be busy; no process is left that would end it by force.
    threading.Event().wait(_PATIENCE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
