"""The database's own clock, which all processes that use it have in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from django_esdb.db.vendors import keeps_utc_times


def local_time(
    connection: BaseDatabaseWrapper, value: datetime | None
) -> datetime | None:
    """
    Return a time that :class:`DatabaseTime` has made as others are, to be shown.

    That matters with ``USE_TZ = False``, where times are naive and in local time.
    """
    if value is None or timezone.is_aware(value) or not keeps_utc_times(connection):
        return value
    in_utc = value.replace(tzinfo=UTC)
    return timezone.make_naive(in_utc, timezone.get_default_timezone())


class DatabaseTime(Func):
    """
    The time at which the statement began, by the database's clock.

    Args:
        seconds: What to add to it; may be a fraction.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self._seconds = seconds

    def as_sql(  # type: ignore[override]
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        **extra: Any,
    ) -> tuple[str, Any]:
        """Fall back to what Django makes of it, on databases not named below."""
        expression = Now() + timedelta(seconds=self._seconds)
        return compiler.compile(expression.resolve_expression(compiler.query))

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        # Not CURRENT_TIMESTAMP, which is when the transaction began.
        return (
            "(STATEMENT_TIMESTAMP() + make_interval(secs => %s))",
            [float(self._seconds)],
        )

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        # CURRENT_TIMESTAMP would be in the server's time zone.
        microseconds = round(self._seconds * 1_000_000)
        return "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)", [microseconds]

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        # SQLite's clock is the machine's, and all that share the file are on it.
        return (
            "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s)",
            [f"{self._seconds:+.3f} seconds"],
        )
