"""Doing in a thread of its own what a signal asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

# A call that is under way is waited for so long at the end.
_END_SECONDS = 0.2


@contextmanager
def called_in_thread(call: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """
    Give a function that has another one called, once, by a thread that is there.

    A handler of signals may call it: it interrupts the main thread anywhere, where that
    may have the lock of an event, or of what starts threads, and waits for none.

    Args:
        call: The other function.

    Yields:
        The function, which returns at once.
    """
    asked: SimpleQueue[bool] = SimpleQueue()

    def wait() -> None:
        if asked.get():
            call()

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    try:
        # Unlike those of other queues and of events, this method is reentrant.
        yield lambda: asked.put(True)
    finally:
        asked.put(False)
        thread.join(_END_SECONDS)
