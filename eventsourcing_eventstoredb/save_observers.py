"""What is told of each save, such as tracing; nothing unless asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger("eventsourcing_eventstoredb.saving")


@dataclass(frozen=True)
class Save:
    """
    Events that are about to be appended in one transaction.

    Attributes:
        stream: Name of the stream that they go to.
        events: How many they are.
        is_snapshot: Whether they are snapshots.
    """

    stream: str
    events: int
    is_snapshot: bool


Ended = Callable[[BaseException | None], object]
SaveObserver = Callable[[Save], Ended]

_lock = threading.Lock()
# Replaced as a whole: saves of other threads go through the one that they have seen.
_observers: tuple[SaveObserver, ...] = ()


def observe_saves(observer: SaveObserver) -> Callable[[], None]:
    """
    Have an observer called at each save of this process.

    Args:
        observer: Called before a save, in its thread, and returns what is called after
            it: with None, or with the error that the save raises. The save takes
            longer by what these take; what they raise is logged, and stops nothing.

    Returns:
        What ends it.
    """
    global _observers

    with _lock:
        _observers = (*_observers, observer)

    def end() -> None:
        global _observers

        with _lock:
            _observers = tuple(each for each in _observers if each is not observer)

    return end


def are_observed() -> bool:
    """Return whether anybody wants to know."""
    return bool(_observers)


@contextmanager
def observed(save: Save) -> Iterator[None]:
    """Tell the observers of a save, which is made in the block, and of its end."""
    endings = [ended for each in _observers if (ended := _begun(each, save))]
    try:
        yield
    except BaseException as error:
        _end(endings, error)
        raise
    _end(endings, None)


def _begun(observer: SaveObserver, save: Save) -> Ended | None:
    try:
        return observer(save)
    except Exception:
        logger.exception("An observer of saves failed")
        return None


def _end(endings: list[Ended], error: BaseException | None) -> None:
    # The first to begin is the last to end.
    for ended in reversed(endings):
        try:
            ended(error)
        except Exception:
            logger.exception("An observer of saves failed")
