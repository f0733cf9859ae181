"""Reading one's own writes: waiting for a projection to have processed them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventsourcing.persistence import Recording
from eventsourcing.projection import Projection

from django_esdb.registry import registry


def wait_for(
    projection: type[Projection[Any]] | str,
    recordings: Iterable[Recording[Any]],
    timeout: float = 1.0,
) -> bool:
    """
    Block until a projection has processed what was recorded.

    It returns at once if nothing of it is among the projection's topics.

    Args:
        projection: A registered projection, or its name.
        recordings: What ``save()`` of the application has returned.
        timeout: Most seconds to wait.

    Returns:
        Whether it is processed. If not, it is recorded all the same, and will
        be processed once the projection gets there.

    Raises:
        NotRegisteredError: There is no such projection.
        TypeError: Its view is not in the database.
        WaitInTransactionError: The calling code is in a transaction that does
            not see what others commit.
    """
    # Loads models, which importing this package must not.
    from django_esdb.recorders.recorder import DjangoTrackingRecorder

    name = projection if isinstance(projection, str) else projection.name
    registration = registry.get(name)
    view_class = registration.view_class
    if not issubclass(view_class, DjangoTrackingRecorder):
        msg = f"{view_class.__name__} is not in the database: nothing can be waited for"
        raise TypeError(msg)
    topics = registration.topics
    positions = [
        recording.notification.id
        for recording in recordings
        if not topics or recording.notification.topic in topics
    ]
    if not positions:
        return True
    view = DjangoTrackingRecorder(name, using=view_class.database())
    try:
        view.wait(registration.application_name, max(positions), timeout)
    except TimeoutError:
        return False
    return True
