"""Which rows a batch's events will ask for, so that one query can read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import models
from eventsourcing.persistence import Notification

from django_esdb.subscriptions.received import ReceivedEvent


def expected_keys(
    row_keys: Callable[[type[models.Model], Any], Iterable[Any]] | None,
    model: type[models.Model],
    events: Sequence[ReceivedEvent],
    begin: Callable[[Notification], object],
) -> Iterable[Any]:
    """
    Return the keys of a model's rows that the events will ask for.

    Args:
        row_keys: The projection's method; without one it is the aggregate's row.
        model: Whose rows.
        events: Those that could not be decoded ask for none.
        begin: Told which event the method is asked about.
    """
    known = [event for event in events if event.error is None]
    if row_keys is None:
        return [event.notification.originator_id for event in known]
    keys: list[Any] = []
    for event in known:
        begin(event.notification)
        keys.extend(row_keys(model, event.domain_event))
    return keys
