"""How much a database does for queries, which no busy machine changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection


@dataclass
class Work:
    """
    What was done within a block.

    Attributes:
        queries: How many queries there were.
        amount: Rows that were read; on SQLite, which does not tell that, tens of
            steps of its virtual machine, of which each row takes some.
    """

    queries: int = 0
    amount: int = 0


@contextmanager
def work() -> Iterator[Work]:
    """Count what the default database does within the block."""
    done = Work()
    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT"):
            asked.append((sql, params))
        return execute(sql, params, many, context)

    def step() -> int:
        done.amount += 1
        return 0

    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.set_progress_handler(step, 10)
    before = _handled()
    try:
        with connection.execute_wrapper(note):
            yield done
    finally:
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(None, 0)
    done.queries = len(asked)
    done.amount += _handled() - before
    if connection.vendor == "postgresql":
        done.amount = sum(_explained(sql, params) for sql, params in asked)


def _handled() -> int:
    """Return how many rows MariaDB has read for this connection."""
    if connection.vendor != "mysql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(value) for _, value in cursor.fetchall())


def _explained(sql: str, params: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        (found,) = cursor.fetchone()
    plans = json.loads(found) if isinstance(found, str) else found
    return _read(plans[0]["Plan"])


def _read(plan: dict[str, Any]) -> int:
    inner = plan.get("Plans", [])
    if inner:
        return sum(map(_read, inner))
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(rows * plan["Actual Loops"])
