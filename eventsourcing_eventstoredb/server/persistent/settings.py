"""What a group is and how it behaves: the values that clients set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from eventsourcing_eventstoredb.server.engine.filters import Filter

ALL: Final = "$all"
FROM_END: Final = -1

STRATEGIES: Final = ("DispatchToSingle", "RoundRobin", "Pinned", "PinnedByCorrelation")


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """A filter in a form that can be stored."""

    field: str
    pattern: str
    prefixes: list[str] = dataclasses.field(default_factory=list)

    def make(self) -> Filter:
        """Make the filter."""
        return Filter(self.field, self.pattern, self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """
    One group, as its configuration describes it.

    Attributes:
        source: The stream it reads, or `ALL`.
        group: The group's name.
        start_from: First event number or position wanted, or `FROM_END`.
        begin: What `start_from` came to when the group was made.
        filter: What to read of `ALL`; None for everything.
        message_timeout_ms: For how long an event may stay unacknowledged.
        max_retry_count: How often it is handed out again before it is parked.
        checkpoint_after_ms: The time from one checkpoint to the next.
        min_checkpoint_count: Events to be processed for a checkpoint in time.
        max_checkpoint_count: Events after which there is a checkpoint at any time.
        max_subscriber_count: The most consumers; 0 for no limit.
    """

    source: str
    group: str
    start_from: int = 0
    begin: int = 0
    filter: FilterSettings | None = None
    resolve_links: bool = False
    extra_statistics: bool = False
    message_timeout_ms: int = 0
    max_retry_count: int = 0
    checkpoint_after_ms: int = 0
    min_checkpoint_count: int = 0
    max_checkpoint_count: int = 0
    max_subscriber_count: int = 0
    live_buffer_size: int = 0
    read_batch_size: int = 0
    history_buffer_size: int = 0
    strategy: str = "RoundRobin"

    @property
    def reads_all(self) -> bool:
        return self.source == ALL

    @property
    def id(self) -> str:
        return f"{self.source}::{self.group}"

    @property
    def checkpoint_stream(self) -> str:
        return f"$persistentsubscription-{self.id}-checkpoint"

    @property
    def parked_stream(self) -> str:
        return f"$persistentsubscription-{self.id}-parked"

    def format_position(self, position: int | None) -> str:
        """Write a number or position as EventStoreDB does; "" for None."""
        if position is None:
            return ""
        return f"C:{position}/P:{position}" if self.reads_all else str(position)

    def to_json(self) -> dict[str, Any]:
        """Make a value that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> GroupSettings:
        """Read what `to_json` made."""
        stored = dict(content)
        if stored["filter"] is not None:
            stored["filter"] = FilterSettings(**stored["filter"])
        return cls(**stored)


def parse_position(text: str) -> int:
    """Read a number or position that `GroupSettings.format_position` wrote."""
    return int(text.partition("/")[0].removeprefix("C:"))
