"""Running what a finalizer does wherever a thread may be, as the collector does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any


@contextmanager
def at_each_line(
    act: Callable[[], object], *modules: ModuleType, in_threads: str = ""
) -> Iterator[None]:
    """
    Run a function at each line of modules: in this thread, and in new ones.

    Python looks for garbage between any two steps, and runs finalizers in the thread
    that was just running, whatever locks it has.

    Args:
        act: What a finalizer does. It does not meet itself.
        modules: Where it is run.
        in_threads: How the names of threads begin that it is run in, and in no others;
            if it is empty, it is run in all.
    """
    files = {module.__file__ for module in modules}
    busy = threading.local()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        is_there = threading.current_thread().name.startswith(in_threads)
        if event == "line" and is_there and not getattr(busy, "acts", False):
            busy.acts = True
            try:
                act()
            finally:
                busy.acts = False
        return trace

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
