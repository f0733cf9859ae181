"""At which version the aggregates of a source begin, and how far each has come."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from eventsourcing.persistence import Notification

from django_esdb.copying.source import Source
from eventsourcing_eventstoredb.copying.copies import CopyError

# Of one that is not remembered any more, the source is asked.
_MOST_REMEMBERED = 100_000
_FIRST_VERSIONS = (0, 1)


@dataclass(slots=True)
class Aggregate:
    """
    What is known of an aggregate.

    Attributes:
        first_version: The version of its first event.
        last_version: The version of the last event that was met.
        is_there: Whether that one was in EventStoreDB already.
    """

    first_version: int
    last_version: int
    is_there: bool = False


class Aggregates:
    """
    Remembers a bounded number of a source's aggregates.

    Args:
        source: Where they are.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: OrderedDict[UUID | str, Aggregate] = OrderedDict()

    def next(self, event: Notification) -> Aggregate:
        """
        Return the aggregate of the next event of the source.

        Raises:
            CopyError: The event does not follow the aggregate's last one, or the
                aggregate begins at another version than 0 or 1.
        """
        originator_id, version = event.originator_id, event.originator_version
        found = self._known.get(originator_id)
        if found is None:
            first = self._first_version(event)
            # Where it is not the first, what came before is forgotten.
            found = Aggregate(first, max(version, first) - 1)
            self._known[originator_id] = found
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(originator_id)
        if version != found.last_version + 1:
            msg = (
                f"Events of {originator_id} in the source have a gap or another order: "
                f"version {version} where {found.last_version + 1} has to be, at "
                f"notification {event.id}"
            )
            raise CopyError(msg)
        found.last_version = version
        return found

    def _first_version(self, event: Notification) -> int:
        first: int | None = event.originator_version
        if first != 0:
            # Version 1 may be the first one, or the second.
            first = self._source.first_version(event.originator_id)
        if first not in _FIRST_VERSIONS:
            msg = (
                f"Events of {event.originator_id} in the source begin at version "
                f"{first}, at notification {event.id}: aggregates begin at 0 or 1, so "
                "earlier ones are missing"
            )
            raise CopyError(msg)
        return first
