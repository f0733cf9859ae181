"""Which databases there are to test on, and new ones for single tests."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ

# Only says which kind: each test has files of its own.
SQLITE_URL = "sqlite://:memory:"

# Folders of tests that need not be run on each database.
WITHOUT_DATABASE = (
    "unit",
    "acceptance/example_project",
    "acceptance/packaging",
    "acceptance/persistence",
    "acceptance/server",
    "integration/persistence",
    "integration/server",
    "integration/stress",
)


@dataclass(frozen=True)
class Server:
    """
    A kind of database server and where it may be.

    Attributes:
        name: How it is called in reports.
        variable: Environment variable that says where it is.
        driver: Module that connects to it.
        candidates: Where it usually is, if the variable does not say.
    """

    name: str
    variable: str
    driver: str
    candidates: tuple[str, ...]


_USER = getpass.getuser()

SERVERS = (
    Server(
        name="PostgreSQL",
        variable="TEST_POSTGRESQL_URL",
        driver="psycopg",
        candidates=(
            "postgres:///postgres",
            f"postgres://{_USER}@127.0.0.1:5432/postgres",
            "postgres://postgres@127.0.0.1:5432/postgres",
        ),
    ),
    Server(
        name="MariaDB",
        variable="TEST_MARIADB_URL",
        driver="MySQLdb",
        candidates=(
            f"mysql://{_USER}@localhost/?unix_socket=/run/mysqld/mysqld.sock",
            f"mysql://{_USER}@localhost/?unix_socket=/tmp/mysql.sock",
            f"mysql://{_USER}@127.0.0.1:3306/",
        ),
    ),
)


@dataclass(frozen=True)
class Found:
    """
    What came of looking for a server.

    Attributes:
        name: How it is called in reports.
        url: Where it is; empty if it was not found.
        report: Its version, or why it was not found.
    """

    name: str
    url: str
    report: str


def find(server: Server) -> Found:
    """Look for a server where the environment says, else where it usually is."""
    if importlib.util.find_spec(server.driver) is None:
        return Found(server.name, "", "no driver")
    said = os.environ.get(server.variable)
    reason = ""
    for url in (said,) if said else server.candidates:
        try:
            return Found(server.name, url, _version(url))
        except Exception as error:
            reason = reason or " ".join(str(error).split())
    where = f"at {server.variable}" if said else f"(set {server.variable})"
    return Found(server.name, "", f"not reachable {where}: {reason}")


@contextmanager
def new_database(url: str, folder: Path) -> Iterator[str]:
    """
    Make an empty database and yield its URL; drop it at the end.

    Args:
        url: Of the server; or an SQLite URL, for a file in *folder*.
        folder: A folder that is removed after the test.
    """
    if url.startswith("sqlite"):
        yield f"sqlite:///{folder / 'project.sqlite3'}"
        return
    with _created(url, "") as created:
        yield created


@contextmanager
def copied_database(template: str, folder: Path) -> Iterator[str]:
    """
    Make a copy of a database that nothing is connected to; drop it at the end.

    Args:
        template: The database's URL.
        folder: A folder that is removed after the test; an SQLite file gets there.

    Yields:
        The copy's URL.
    """
    if template.startswith("sqlite"):
        path = folder / "project.sqlite3"
        shutil.copyfile(template.removeprefix("sqlite:///"), path)
        yield f"sqlite:///{path}"
        return
    name = environ.Env.db_url_config(template)["NAME"]
    if template.startswith("postgres"):
        server = with_name(template, "postgres")
        with _created(server, f" TEMPLATE {name}") as created:
            yield created
        return
    with _created(with_name(template, ""), "") as created:
        _copy_tables(name, created)
        yield created


@contextmanager
def _created(url: str, how: str) -> Iterator[str]:
    name = f"test_django_esdb_{uuid.uuid4().hex[:16]}"
    _execute(url, f"CREATE DATABASE {name}{how}")
    try:
        yield with_name(url, name)
    finally:
        # A killed process may still be on its way out.
        force = " WITH (FORCE)" if url.startswith("postgres") else ""
        _execute(url, f"DROP DATABASE {name}{force}")


def _copy_tables(template: str, url: str) -> None:
    """Copy all tables of a database of MariaDB's into an empty one."""
    with connected(url) as connection, closing(connection.cursor()) as cursor:
        # In whatever order they come.
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute(f"SHOW TABLES FROM {template}")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SHOW CREATE TABLE {template}.{table}")
            cursor.execute(cursor.fetchone()[1])
            cursor.execute(f"INSERT INTO {table} SELECT * FROM {template}.{table}")


def _version(url: str) -> str:
    return str(_execute(url, "SELECT version()")).split(" on ")[0]


def _execute(url: str, sql: str) -> object:
    with connected(url) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """
    Connect apart from Django's own connections, through the driver alone.

    Each statement is a transaction of its own, unless one is begun. Any thread may
    use the connection, one at a time.
    """
    with closing(_connect(url)) as connection:
        yield connection


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return what a query finds, apart from Django's own connections."""
    with connected(url) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _connect(url: str) -> Any:
    config = environ.Env.db_url_config(url)
    if url.startswith("sqlite"):
        return sqlite3.connect(
            config["NAME"], timeout=20, isolation_level=None, check_same_thread=False
        )
    if url.startswith("postgres"):
        import psycopg

        return psycopg.connect(
            dbname=config["NAME"] or "postgres",
            user=config["USER"] or None,
            password=config["PASSWORD"] or None,
            host=config["HOST"] or None,
            port=config["PORT"] or None,
            autocommit=True,
        )
    import MySQLdb

    options = {
        "db": config["NAME"],
        "user": config["USER"],
        "passwd": config["PASSWORD"],
        "host": config["HOST"],
        "port": int(config["PORT"] or 0),
        **config.get("OPTIONS", {}),
    }
    return MySQLdb.connect(
        autocommit=True, **{key: value for key, value in options.items() if value}
    )


def with_name(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    address, separator, query = url.partition("?")
    return f"{address.rpartition('/')[0]}/{name}{separator}{query}"
