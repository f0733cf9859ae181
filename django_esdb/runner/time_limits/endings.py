"""Ending the process for certain, whatever its threads are at."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

# For what is flushed and said at the very end.
_FLUSH_SECONDS = 3.0


def done_within(seconds: float, call: Callable[[], object]) -> bool:
    """
    Call a function in a thread of its own, for it may block for ever.

    Args:
        seconds: How long to wait for it.
        call: The function; what it raises is dealt with by ``threading.excepthook``.

    Returns:
        Whether it has ended.
    """
    thread = threading.Thread(target=call, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def write_to_stderr(line: str) -> None:
    """Write a line without any lock of Python's, and nothing if that fails."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))


def end_process(status: int, last_words: Callable[[], object] | None = None) -> None:
    """
    End the process now; databases undo what is not committed.

    Args:
        status: The exit status.
        last_words: Called before.
    """
    # Python's own exit would wait for the threads, which is what must not be done. A
    # thread may hang while it logs or prints, with the lock that is needed here.
    try:
        done_within(_FLUSH_SECONDS, lambda: _flush(last_words))
    finally:
        os._exit(status)


def _flush(last_words: Callable[[], object] | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        # There may be none, or it is closed.
        with suppress(Exception):
            stream.flush()
    if last_words is not None:
        with suppress(Exception):
            last_words()
    logging.shutdown()
