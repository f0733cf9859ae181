"""
Filters on the whole log, by type name or by stream name.

Patterns come from clients, so they are measured before they are compiled, and every
match has a time limit: a pattern that backtracks for ever ends its own call and nothing
else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import regex

from eventsourcing_eventstoredb.server.errors import HandlerError, InvalidArgumentError
from eventsourcing_eventstoredb.server.storage.records import Record

PATTERN_TIMEOUT: Final = 0.25

# Compiling holds all threads, the longer the more its counted repeats stand for.
_LONGEST_PATTERN: Final = 100_000
_MOST_REPEATS: Final = 10_000
_PART = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]|\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}|.", re.DOTALL
)
# With these flags text is read in another way, so nothing is known of its nesting.
_OTHER_SYNTAX = re.compile(r"\(\?[a-zA-Z0-9-]*[xVv]")

# Type and stream names repeat; their matches are remembered up to this many names.
_REMEMBERED_NAMES = 10_000


class Filter:
    """
    Lets through the events whose type or stream name matches.

    Args:
        field: ``"type"`` or ``"stream"``.
        pattern: A regular expression, searched anywhere in the name; empty for none.
        prefixes: Without a pattern: the name starts with one of these.

    Raises:
        HandlerError: The pattern is not valid.
        InvalidArgumentError: It is too large.
    """

    def __init__(self, field: str, pattern: str, prefixes: Sequence[str]) -> None:
        self._by_type = field == "type"
        self._prefixes = tuple(prefixes)
        self._remembered: dict[str, bool] = {}
        self._pattern: regex.Pattern[str] | None = None
        if pattern:
            _check_size(pattern)
            try:
                self._pattern = regex.compile(pattern)
            except (regex.error, ValueError, OverflowError, RecursionError) as error:
                msg = f"Invalid pattern: {error}"
                raise HandlerError(msg) from error

    def matches(self, record: Record) -> bool:
        """
        Tell whether an event passes.

        Raises:
            InvalidArgumentError: The pattern takes longer than `PATTERN_TIMEOUT`
                seconds on this name.
        """
        name = record.type if self._by_type else record.stream
        known = self._remembered.get(name)
        if known is None:
            known = self._match(name)
            if len(self._remembered) >= _REMEMBERED_NAMES:
                self._remembered.clear()
            self._remembered[name] = known
        return known

    def _match(self, name: str) -> bool:
        if self._pattern is None:
            return name.startswith(self._prefixes)
        try:
            # Concurrent: a slow pattern must not keep other threads from running.
            found = self._pattern.search(name, timeout=PATTERN_TIMEOUT, concurrent=True)
        except TimeoutError as error:
            msg = (
                f"The pattern {self._pattern.pattern!r} takes longer than"
                f" {PATTERN_TIMEOUT} s on {name[:100]!r}. Simplify it."
            )
            raise InvalidArgumentError(msg) from error
        return found is not None


def _check_size(pattern: str) -> None:
    if len(pattern) > _LONGEST_PATTERN or _repeats(pattern) > (
        len(pattern) + _MOST_REPEATS
    ):
        msg = (
            "Invalid pattern: it is longer than"
            f" {_LONGEST_PATTERN} characters, or its counted repeats stand for more"
            f" than {_MOST_REPEATS}."
        )
        raise InvalidArgumentError(msg)


def _repeats(pattern: str) -> int:
    """Return about how long a pattern is with its counted repeats written out."""
    product = 1
    # Of each open group the length so far; and that of the part before.
    lengths, last = [0], 1
    for part in _PART.finditer(pattern):
        if part[0] == "(":
            lengths.append(0)
        elif part[0] == ")":
            last = max(lengths.pop(), 1) if len(lengths) > 1 else 1
            lengths[-1] += last
        elif part[0].startswith("{") and len(part[0]) > 1:
            count = max((int(each[:9]) for each in part.groups() if each), default=1)
            product *= max(count, 1)
            last *= max(count, 1)
            lengths[-1] += last
        else:
            last = 1
            lengths[-1] += 1
    return product if _OTHER_SYNTAX.search(pattern) else sum(lengths)
