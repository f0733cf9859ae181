"""What handlers may not do where nothing is to be left: write elsewhere, and save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from eventsourcing.persistence import EventStore

from django_esdb.db.effects import is_query, text_of
from django_esdb.exceptions import NotInDryRunError
from django_esdb.recorders.rows.statements import Statement, kind_of
from eventsourcing_eventstoredb.inheriting import inherit
from eventsourcing_eventstoredb.refused_saves import check_not_refused, saves_refused
from eventsourcing_eventstoredb.text import one_line

_MARK = "_django_esdb_refuses_saves"
_WHY = (
    "Nothing is saved here: the handler only runs to see what it would do, and an "
    "event cannot be taken back"
)
_LONGEST_STATEMENT = 60

# Alias of the database whose transaction is undone; threads of a handler's have it too.
_dry_run_on: ContextVar[str] = ContextVar("dry_run_on", default="")


@contextmanager
def nothing_elsewhere(using: str, called_back: Callable[[], object]) -> Iterator[None]:
    """
    Refuse what the transaction on a database would not undo, as far as it is seen.

    That is saving events, on stores of any kind, and writing to other databases, or in
    other threads on connections that these open. Callbacks for commits are not called.

    Args:
        using: Alias of the database.
        called_back: Called for each callback for the commit on another database.
    """
    _guard_event_stores()
    inherit(_dry_run_on)
    connection_created.connect(_guard_connection, dispatch_uid=_MARK)
    token = _dry_run_on.set(using)
    try:
        with ExitStack() as stack:
            stack.enter_context(saves_refused(_WHY))
            for alias in connections:
                if alias != using:
                    stack.enter_context(_nothing_on(connections[alias], called_back))
            yield
    finally:
        _dry_run_on.reset(token)


@contextmanager
def _nothing_on(
    connection: BaseDatabaseWrapper, called_back: Callable[[], object]
) -> Iterator[None]:
    def on_commit(function: Callable[[], object], robust: bool = False) -> None:
        called_back()

    # Outside of a transaction Django would call it at once.
    own = vars(connection)
    own["on_commit"] = on_commit
    try:
        with connection.execute_wrapper(_refuse_writes):
            yield
    finally:
        del own["on_commit"]


def _refuse_writes(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    connection: BaseDatabaseWrapper = context["connection"]
    text = text_of(sql, connection.connection)
    is_write = kind_of(text) is Statement.WRITE and not is_query(text)
    if is_write and not text.lstrip().upper().startswith(("BEGIN", "SET ")):
        msg = (
            f"«{one_line(text, _LONGEST_STATEMENT)}» on database "
            f"{connection.alias!r} is not executed: it could not be undone"
        )
        raise NotInDryRunError(msg)
    return execute(sql, params, many, context)


def _guard_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    using = _dry_run_on.get()
    # That of the transaction has its own wrapper.
    if using and not connection.in_atomic_block and not connection.execute_wrappers:
        connection.execute_wrappers.append(_refuse_in_dry_runs)


def _refuse_in_dry_runs(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
) -> Any:
    # The thread may outlive what has started it.
    if not _dry_run_on.get():
        return execute(sql, params, many, context)
    return _refuse_writes(execute, sql, params, many, context)


def _guard_event_stores() -> None:
    """Have event stores of all kinds ask whether they may save; idempotent."""
    put = EventStore.put
    if hasattr(put, _MARK):
        return

    @wraps(put)
    def guarded(self: Any, domain_events: Any, **kwargs: Any) -> Any:
        check_not_refused()
        return put(self, domain_events, **kwargs)

    setattr(guarded, _MARK, True)
    EventStore.put = guarded  # type: ignore[method-assign]
