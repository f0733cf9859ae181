"""The event store of snapshots, which can always be done without."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any
from uuid import UUID

from eventsourcing.domain import CanSnapshotAggregate, DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    DataError,
    EventStore,
    Mapper,
    StoredEvent,
)
from eventsourcing.utils import resolve_topic

from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import named_line, quoted

logger = logging.getLogger("eventsourcing_eventstoredb")

# Aggregates of which it is remembered that they were warned about.
_MOST_WARNED = 1_000


class SnapshotStore(EventStore[Any]):
    """
    An event store that passes over snapshots of which no aggregate can be made.

    Then it is made of its events. So a class that was renamed, an upcasting that is
    missing or fails, a transcoding that is gone, or damaged bytes make loading slow,
    and not impossible. A warning says which snapshot it was, once for each process.
    """

    def __init__(self, mapper: Mapper[Any], recorder: AggregateRecorder) -> None:
        super().__init__(mapper, recorder)
        self._warned: OrderedDict[tuple[UUID | str, int | None], None] = OrderedDict()

    def get(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Iterator[DomainEventProtocol[Any]]:
        """
        Return the snapshots that an aggregate can be made of, in order of version.

        Args:
            originator_id: The aggregate's ID.
            gt: Lowest version to leave out; None for the first one on.
            lte: Highest version to return; None for up to the last.
            desc: Highest version first.
            limit: Most snapshots to look at; None for all.

        Raises:
            OperationalError: The read was cut short.
        """
        try:
            found = self.recorder.select_events(
                originator_id, gt=gt, lte=lte, desc=desc, limit=limit
            )
        except DataError as error:
            self._warn(originator_id, None, "", error)
            found = ()
        return self._usable(found)

    def _usable(
        self, snapshots: Sequence[StoredEvent]
    ) -> Iterator[DomainEventProtocol[Any]]:
        for stored in snapshots:
            try:
                snapshot = self.mapper.to_domain_event(stored)
                if isinstance(snapshot, CanSnapshotAggregate):
                    _try(snapshot)
            except Exception as error:
                # Whatever it is: the events say the same.
                self._warn(
                    stored.originator_id,
                    stored.originator_version,
                    stored.topic,
                    error,
                )
            else:
                yield snapshot

    def _warn(
        self,
        originator_id: UUID | str,
        version: int | None,
        topic: str,
        error: Exception,
    ) -> None:
        key = (originator_id, version)
        if key in self._warned:
            return
        self._warned[key] = None
        if len(self._warned) > _MOST_WARNED:
            self._warned.popitem(last=False)
        log(
            logger,
            logging.WARNING,
            "A snapshot cannot be used and is passed over: the aggregate is made of "
            "its events, until another one is taken",
            originator_id=quoted(originator_id),
            originator_version=version,
            topic=quoted(topic),
            reason=named_line(error),
        )


def _try(snapshot: CanSnapshotAggregate[Any]) -> None:
    """Raise what making an aggregate of the snapshot would raise."""
    # The class may have been renamed.
    aggregate_class = resolve_topic(snapshot.topic)
    is_newer = getattr(aggregate_class, "class_version", 1) > dict(snapshot.state).get(
        "class_version", 1
    )
    is_own = type(snapshot).mutate is not CanSnapshotAggregate.mutate
    # All else only takes the state over as it is.
    if is_newer or is_own:
        # Upcasting may change the state, which is done once.
        deepcopy(snapshot).mutate(None)
