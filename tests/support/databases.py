"""Which databases there are to test on, and new ones for single tests."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
from filelock import FileLock

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
    made = _make(url, folder)
    try:
        yield made
    finally:
        _drop(made)


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
        made = _make(with_name(template, "postgres"), folder, f" TEMPLATE {name}")
    else:
        made = _make(with_name(template, ""), folder)
    try:
        if not template.startswith("postgres"):
            _copy_tables(name, made)
        yield made
    finally:
        _drop(made)


@contextmanager
def template_database(
    url: str, folder: Path, fill: Callable[[str], object]
) -> Iterator[str]:
    """
    Have a database to be copied, one for all workers of a run: to fill it takes long.

    The first one that wants it makes it, the last one that is done with it drops it.

    Args:
        url: Of the server; or an SQLite URL, for a file in *folder*.
        folder: One that all workers know, for this database alone. It is made.
        fill: Makes its tables, and leaves no connection to it.

    Yields:
        The database's URL.
    """
    folder.mkdir(exist_ok=True)
    lock, said = folder / "lock", folder / "url"
    user = folder / f"{uuid.uuid4().hex}.user"
    with FileLock(lock):
        if not said.exists():
            made = _make(url, folder)
            try:
                fill(made)
            except BaseException:
                _drop(made)
                raise
            said.write_text(made)
        user.touch()
    made = said.read_text()
    try:
        yield made
    finally:
        with FileLock(lock):
            user.unlink()
            if not any(folder.glob("*.user")):
                said.unlink()
                _drop(made)


def _make(url: str, folder: Path, how: str = "") -> str:
    """Make an empty database, or as said, and return its URL."""
    if url.startswith("sqlite"):
        return f"sqlite:///{folder / 'project.sqlite3'}"
    name = f"test_django_esdb_{uuid.uuid4().hex[:16]}"
    _execute(url, f"CREATE DATABASE {name}{how}")
    return with_name(url, name)


def _drop(url: str) -> None:
    config = environ.Env.db_url_config(url)
    if url.startswith("sqlite"):
        Path(config["NAME"]).unlink(missing_ok=True)
        return
    is_postgresql = url.startswith("postgres")
    # A killed process may still be on its way out.
    force = " WITH (FORCE)" if is_postgresql else ""
    server = with_name(url, "postgres" if is_postgresql else "")
    _execute(server, f"DROP DATABASE {config['NAME']}{force}")


def _copy_tables(template: str, url: str) -> None:
    """Copy all tables of a database of MariaDB's into an empty one."""
    with connected(url) as connection, closing(connection.cursor()) as cursor:
        # In whatever order they come.
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute(f"SHOW TABLES FROM {template}")
        for (table,) in cursor.fetchall():
            quoted = "`{}`".format(table.replace("`", "``"))
            cursor.execute(f"SHOW CREATE TABLE {template}.{quoted}")
            cursor.execute(cursor.fetchone()[1])
            cursor.execute(f"INSERT INTO {quoted} SELECT * FROM {template}.{quoted}")


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
