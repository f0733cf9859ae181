"""The metadata of the event that a projection processes, as ``self.metadata``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eventsourcing.persistence import Notification
from eventsourcing.projection import Projection

from eventsourcing_eventstoredb.metadata import (
    handle,
    handled_metadata,
    inherit_metadata,
)


def give_projections_metadata() -> None:
    """
    Have projections' handlers see the metadata of their event as ``self.metadata``.

    It is a mapping of texts that cannot be changed, and empty where the event has none,
    its store knows none, or no runner is at work. A class that has something of its own
    by that name keeps it. Idempotent.
    """
    if not hasattr(Projection, "metadata"):
        Projection.metadata = property(_metadata)  # type: ignore[attr-defined]


def _metadata(projection: Projection[Any]) -> Mapping[str, str]:
    return handled_metadata()


class HandledSubscription:
    """
    A subscription whose latest notification is the event that its thread handles.

    For the library's loop, which gives a projection no notification.

    Args:
        subscription: A recorder's.
    """

    def __init__(self, subscription: Any) -> None:
        inherit_metadata()
        self._subscription = subscription

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscription, name)

    def __iter__(self) -> Iterator[Notification]:
        return self

    def __next__(self) -> Notification:
        handle(None)
        notification: Notification = next(self._subscription)
        handle(notification)
        return notification

    def __enter__(self) -> HandledSubscription:
        self._subscription.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._subscription.__exit__(*exc_info)
