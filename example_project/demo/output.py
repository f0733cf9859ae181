"""What the demo and its children say, line by line."""

from __future__ import annotations

import os
import sys
import threading


class Output:
    """
    Standard output, shared by threads; each line is flushed.

    Attributes:
        is_closed: Whether it is not read any more.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._lock = threading.Lock()

    def say(self, line: str = "") -> None:
        """Write a line; does nothing when it is not read."""
        # None where the process was started without a standard output.
        if self.is_closed or sys.stdout is None:
            return
        with self._lock:
            try:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            except UnicodeEncodeError:
                sys.stdout.write(f"{line!a}\n")
                sys.stdout.flush()
            except OSError:
                self.is_closed = True
                # What is buffered would make noise when the process ends.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, sys.stdout.fileno())
                os.close(null)
