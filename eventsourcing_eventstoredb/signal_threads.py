"""Doing in a thread of its own what a signal asks for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

# A call that is under way is waited for so long at the end.
_END_SECONDS = 0.2


@contextmanager
def stopped_by_signals(
    stop: Callable[[], object], again: Callable[[int], object] = lambda number: None
) -> Iterator[None]:
    """
    Have the first SIGTERM, SIGINT or SIGHUP in the block call a function, in a thread.

    A handler interrupts the main thread anywhere, where that may have the lock of an
    event, or of what starts threads. So it waits for none. In another thread than the
    main one, where signals cannot be handled, nothing is done. SIGHUP stays ignored
    where it is, as under ``nohup``.

    Args:
        stop: The function.
        again: Called by the handler itself with the number of each later signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    asked: SimpleQueue[bool] = SimpleQueue()

    def take(number: int, frame: FrameType | None) -> None:
        if came:
            again(number)
        came.append(number)
        # Unlike those of other queues and of events, this method is reentrant.
        asked.put(True)

    def wait() -> None:
        if asked.get():
            stop()

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, take) for number in _ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(False)
        thread.join(_END_SECONDS)


def _ending_signals() -> list[signal.Signals]:
    ending = [signal.SIGTERM, signal.SIGINT]
    # A terminal that is closed sends it; not every system has it.
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        ending.append(hangup)
    return ending
