"""How often a process that processes events looks for garbage."""

from __future__ import annotations

import gc

# New objects after which the young ones are looked through, instead of some hundreds:
# more than a batch has of them at a time, as most go with their batch by themselves.
_YOUNG_OBJECTS = 50_000


def expect_many_objects() -> None:
    """
    Have the garbage collector look less often, and not at what is loaded so far.

    It is for processes that do nothing else than process events, since it is about all
    that a process does. Looking through a project's modules, and at objects that are
    under way, took it a tenth of a projection's time. Where the collector is off, or
    has been told to look even less often, it stays so.
    """
    gc.collect()
    gc.freeze()
    young, *older = gc.get_threshold()
    if young:
        gc.set_threshold(max(young, _YOUNG_OBJECTS), *older)
