"""The events of one aggregate, with their positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import Notification

from eventsourcing_eventstoredb.text import can_be_encoded

_PAGE = 500


def aggregate_notifications(
    app: Application[Any], aggregate: str
) -> Iterator[Notification]:
    """
    Yield an aggregate's events in their order, as a projection without topics has them.

    Where the store cannot be asked for an aggregate's, all events are looked through.

    Args:
        app: The application, on any persistence module.
        aggregate: The aggregate's ID; a UUID in any form.

    Raises:
        PersistenceError: The store cannot be used.
    """
    read = getattr(app.recorder, "aggregate_notifications", None)
    if not can_be_encoded(aggregate):
        return
    for each in ids_of(aggregate):
        found = False
        for notification in _all_of(app, each) if read is None else read(each):
            found = True
            yield notification
        if found:
            return


def ids_of(aggregate: str) -> tuple[str, ...]:
    """Return an aggregate's ID as given, and as UUIDs are written."""
    try:
        return tuple(dict.fromkeys((aggregate, str(UUID(aggregate)))))
    except ValueError:
        return (aggregate,)


def _all_of(app: Application[Any], aggregate: str) -> Iterator[Notification]:
    start, is_first = None, True
    while True:
        page = app.recorder.select_notifications(
            start=1 if is_first else start, limit=_PAGE, inclusive_of_start=is_first
        )
        for notification in page:
            if str(notification.originator_id) == aggregate:
                yield notification
        if len(page) < _PAGE:
            return
        start, is_first = page[-1].id, False
