"""Times and IDs that are the same in each run of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from unittest import mock
from uuid import UUID

DEFAULT_TIME = datetime(2020, 1, 1, 12, tzinfo=UTC)

_CLOCKS = (
    "eventsourcing.domain.datetime_now_with_tzinfo",
    "eventsourcing.application.datetime_now_with_tzinfo",
    "django.utils.timezone.now",
)
_IDS = ("eventsourcing.domain.uuid4",)


class FixedClock:
    """
    A clock that stands still until it is told otherwise.

    Args:
        now: Where it stands.

    Attributes:
        now: Where it stands; can be set.

    Raises:
        ValueError: The time has no time zone.
    """

    def __init__(self, now: datetime = DEFAULT_TIME) -> None:
        if now.tzinfo is None:
            msg = f"a time needs a time zone, such as {now!r} with tzinfo=UTC"
            raise ValueError(msg)
        self.now = now

    def advance(self, seconds: float) -> datetime:
        """Move it on by so many seconds, and return where it stands then."""
        self.now += timedelta(seconds=seconds)
        return self.now

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def fixed_clock(now: datetime = DEFAULT_TIME, *also: str) -> Iterator[FixedClock]:
    """
    Let a clock stand still, of which events and Django get the time.

    These are the timestamps of events and snapshots, ``timezone.now()`` of Django, and
    with it fields with ``auto_now``; not the database's own ``Now()``.

    Args:
        now: Where it stands at first, with a time zone.
        also: Dotted paths of functions that tell the time without an argument, such as
            ``"school.domain.now"``, which was imported by its name.

    Raises:
        ValueError: *now* has no time zone.
        AttributeError: A path leads nowhere.
    """
    clock = FixedClock(now)
    with _patched((*_CLOCKS, *also), clock):
        yield clock


def numbered_id(number: int) -> UUID:
    """Return the ID that :func:`fixed_ids` makes as the first one, second one, ..."""
    return UUID(int=number, version=4)


@contextmanager
def fixed_ids(*also: str) -> Iterator[None]:
    """
    Let aggregates without an ID of their own get ``numbered_id(1)``, then 2, 3, ...

    Those that make their ID from a name, with ``create_id``, have the same each time
    anyway.

    Args:
        also: Dotted paths of functions that make an ID without an argument, such as
            ``"school.domain.uuid4"``; they take part in the numbering.

    Raises:
        AttributeError: A path leads nowhere.
    """
    numbers = count(1)
    with _patched((*_IDS, *also), lambda: numbered_id(next(numbers))):
        yield


@contextmanager
def _patched(paths: tuple[str, ...], function: object) -> Iterator[None]:
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(mock.patch(path, function))
        yield
