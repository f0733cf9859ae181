"""The databases that benchmarks measure on, each time a new one."""

from __future__ import annotations

import getpass
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import django
import environ
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

SQLITE = "sqlite://:memory:"


def databases() -> dict[str, str]:
    """Return the URL of each database server that can be used, by name."""
    user = getpass.getuser()
    socket = "/run/mysqld/mysqld.sock"
    found = {"SQLite": SQLITE}
    for name, variable, usual in (
        ("PostgreSQL", "TEST_POSTGRESQL_URL", "postgres:///postgres"),
        (
            "MariaDB",
            "TEST_MARIADB_URL",
            f"mysql://{user}@localhost/?unix_socket={socket}",
        ),
    ):
        url = os.environ.get(variable, usual)
        try:
            execute(url, "SELECT 1")
        except Exception as error:
            reason = " ".join(str(error).split())
            print(f"{name}: not measured, {reason} (set {variable})")
        else:
            found[name] = url
    return found


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Make an empty database on a server and yield its URL; drop it at the end."""
    if url == SQLITE:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        return
    name = f"bench_django_esdb_{uuid.uuid4().hex[:16]}"
    execute(url, f"CREATE DATABASE {name}")
    address, separator, options = url.partition("?")
    try:
        yield f"{address.rpartition('/')[0]}/{name}{separator}{options}"
    finally:
        execute(url, f"DROP DATABASE {name}")


def execute(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own, and return its rows, if any."""
    connection = _connection(url)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def _connection(url: str) -> BaseDatabaseWrapper:
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    handler = ConnectionHandler({"default": environ.Env.db_url_config(url)})
    return handler["default"]
