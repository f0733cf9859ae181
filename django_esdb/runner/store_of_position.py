"""Telling that a runner did not begin since its position is one of another store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from eventsourcing import projection as library
from eventsourcing.application import Application
from eventsourcing.persistence import PersistenceError, ProgrammingError

from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.subscriptions.positions import check_same_store


def check_store_of(
    made: Sequence[Application[Any]],
    error: BaseException,
    projection_class: type[library.Projection[Any]],
    view_class: type[Any],
) -> None:
    """
    Raise an error that says so, if the position is one of another store.

    Args:
        made: The application, if it was made.
        error: Why the runner did not begin.
        projection_class: Whose position it is.
        view_class: Its view's.
    """
    if (
        not isinstance(error, ProgrammingError)
        or not made
        or not issubclass(view_class, DjangoTrackingRecorder)
    ):
        return
    view = DjangoTrackingRecorder(projection_class.name, using=view_class.database())
    with suppress(PersistenceError):
        check_same_store(made[0].recorder, view.tracked(made[0].name).row())
