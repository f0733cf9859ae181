"""
Filters on the whole log, by type name or by stream name.

Patterns come from clients, so every match has a time limit: a pattern that backtracks
for ever ends its own call and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import regex

from eventsourcing_eventstoredb.server.errors import HandlerError, InvalidArgumentError
from eventsourcing_eventstoredb.server.records import Record

PATTERN_TIMEOUT: Final = 0.25

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
    """

    def __init__(self, field: str, pattern: str, prefixes: Sequence[str]) -> None:
        self._by_type = field == "type"
        self._prefixes = tuple(prefixes)
        self._remembered: dict[str, bool] = {}
        self._pattern: regex.Pattern[str] | None = None
        if pattern:
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
