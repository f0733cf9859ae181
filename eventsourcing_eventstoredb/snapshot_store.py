"""The event store of snapshots, which can always be done without."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
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

from eventsourcing_eventstoredb.text import named_line, quoted

logger = logging.getLogger("eventsourcing_eventstoredb")

# Aggregates of which it is remembered that they were warned about.
_MOST_WARNED = 1_000


class SnapshotStore(EventStore[Any]):
    """
    An event store that passes over snapshots which cannot be decoded.

    Then an aggregate is made of its events. So a class that was renamed, a transcoding
    that is gone, or damaged bytes make loading slow, and not impossible. A warning says
    which snapshot it was, once for each process.
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
        Return the snapshots of an aggregate that can be decoded, in order of version.

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
        return self._decoded(found)

    def _decoded(
        self, snapshots: Sequence[StoredEvent]
    ) -> Iterator[DomainEventProtocol[Any]]:
        for stored in snapshots:
            try:
                snapshot = self.mapper.to_domain_event(stored)
                if isinstance(snapshot, CanSnapshotAggregate):
                    # Of the aggregate's class, which may have been renamed.
                    resolve_topic(snapshot.topic)
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
        logger.warning(
            "A snapshot cannot be decoded and is passed over: the aggregate is made of "
            "its events, until another one is taken: originator_id=%s "
            "originator_version=%s topic=%s reason=%s",
            quoted(originator_id),
            version,
            quoted(topic),
            named_line(error),
        )
