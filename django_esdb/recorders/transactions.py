"""What a view's transaction consists of: statements, and the move of its position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.utils import IntegrityError as DatabaseIntegrityError
from eventsourcing.persistence import IntegrityError

from django_esdb.db.guards import refuse_statements
from django_esdb.exceptions import PositionMovedError
from django_esdb.leases.lease import Lease
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTrackingQuerySet
from django_esdb.recorders.rows.unit_of_work import UnitOfWork


@contextmanager
def view_transaction(
    view_name: str, using: str, unit: UnitOfWork, tables: Callable[[], Iterable[str]]
) -> Iterator[None]:
    """
    Hold a transaction in which a view's rows are changed in its database alone.

    Args:
        view_name: The view's class, for messages.
        using: Alias of its database.
        unit: Told of each statement there.
        tables: Returns the names of the view's tables, which no other database is
            asked for; called for each statement in one.
    """
    with ExitStack() as stack:
        # Left last of all: what is called back after the commit is free to use any.
        stack.enter_context(transaction.atomic(using=using))
        for alias in connections:
            if alias == using:
                wrapper: Callable[..., Any] = unit.execute_wrapper
            else:
                wrapper = refuse_statements(view_name, using, alias, tables)
            stack.enter_context(connections[alias].execute_wrapper(wrapper))
        try:
            yield
        except BaseException:
            # Whatever a statement says on a connection that the handler has closed.
            unit.check_connection()
            raise


def move_position(
    tracked: TrackedProjection,
    rows: ProjectionTrackingQuerySet,
    start: int | None,
    end: int,
    lease: Lease | None,
    changes: dict[str, Any],
) -> None:
    """
    Move a position from where a runner believes it to be; the batch's first statement.

    First, so that SQLite takes its write lock at once, where it waits, rather than on
    the way, where it fails.

    Args:
        tracked: Whose position it is.
        rows: Its row, as :meth:`TrackedProjection.queryset` returns it.
        start: Where it has to be; None if nothing is processed yet.
        end: Where to move it.
        lease: What has to be the projection's still; None for any.
        changes: Other fields of the row to set.

    Raises:
        LeaseLostError: Another process has taken over.
        PositionMovedError: It is not at *start*.
    """
    token = None if lease is None else lease.token
    if (start is None or end > start) and rows.compare_and_swap(
        start, end, token=token, **changes
    ):
        return
    if lease is not None and not rows.filter(token=lease.token).exists():
        raise lease.lost()
    msg = (
        f"Projection {tracked.projection!r} is not at position {start} of "
        f"{tracked.application!r} any more: another process is running it"
    )
    raise PositionMovedError(msg)


def advance_position(tracked: TrackedProjection, position: int) -> None:
    """
    Move a position on to an event that is processed outside of a runner.

    Raises:
        IntegrityError: It is there already, or later.
    """
    rows = tracked.queryset()
    if rows.advance(position):
        return
    # Either there is no row yet or its position is not earlier. A
    # savepoint, since PostgreSQL ends a transaction at its first error.
    try:
        with transaction.atomic(using=tracked.using):
            tracked.ensure_row()
    except DatabaseIntegrityError:
        pass
    if not rows.advance(position):
        msg = (
            f"Notification {position} of {tracked.application!r} is processed already: "
            f"projection {tracked.projection!r} is at {rows.position()}"
        )
        raise IntegrityError(msg)
