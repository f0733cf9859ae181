"""What statements do to tables, as far as their text and the database tell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import is_postgresql

_NAME = re.compile(r'[`"]([^`"]+)[`"]|([A-Za-z_][\w$]*)')
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "TRUNCATE", "COPY", "CALL")
# Up to where the tables stand that a statement writes to.
_TARGETS = re.compile(
    r"""
    \b(?:INSERT\s+(?:\w+\s+){0,3}?INTO|REPLACE\s+(?:\w+\s+)?(?:INTO\s+)?)
        (?P<into>.*?)(?:\(|\bSELECT\b|\bVALUES\b|\bDEFAULT\b|\bSET\b|\Z)
    | \bMERGE\s+INTO(?P<merge>.*?)\bUSING\b
    | \bUPDATE\b(?P<update>.*?)\bSET\b
    | \bDELETE\b(?P<delete>.*?)(?:\bWHERE\b|\bUSING\b|\bRETURNING\b|\Z)
    | \bTRUNCATE\b(?P<truncate>.*)\Z
    | \bCOPY\b(?P<copy>.*?)(?:\(|\bFROM\b|\Z)
    | \bLOAD\s+DATA\b.*?\bINTO\s+TABLE(?P<load>.*)\Z
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_COMMENTS = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
# What may contain anything: texts, and the bodies of functions.
_TEXTS = re.compile(r"'(?:[^']|'')*'|(\$\w*\$).*?\1", re.DOTALL)
_ESCAPED_TEXTS = re.compile(
    r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*\"""", re.DOTALL
)
_ROUTINE = re.compile(
    r"\s*CREATE\s+(?:\w+\s+){0,3}?(?:TRIGGER|FUNCTION|PROCEDURE)\b", re.IGNORECASE
)
_USUAL = ("SELECT", "INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE")
_ENDINGS = (
    *("COMMIT", "END", "ABORT", "BEGIN", "START TRANSACTION", "PREPARE TRANSACTION"),
    *("SET AUTOCOMMIT", "SET SESSION AUTOCOMMIT", "SET @@AUTOCOMMIT"),
)
# MariaDB and MySQL commit before these.
_COMMITTING = (
    *("ALTER", "ANALYZE", "CACHE", "CHECK", "CREATE", "DROP", "FLUSH", "GRANT"),
    *("INSTALL", "LOAD INDEX", "LOCK", "OPTIMIZE", "RENAME", "REPAIR", "RESET"),
    *("REVOKE", "SET PASSWORD", "START", "STOP", "TRUNCATE", "UNINSTALL", "UNLOCK"),
    "XA",
)
_ACTIONS = "('CASCADE', 'SET NULL', 'SET DEFAULT')"

_SQLITE_REFERENCES = f"""
    SELECT f."table", m.name, f.on_delete IN {_ACTIONS}, f.on_update IN {_ACTIONS}
    FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
"""  # noqa: S608
_SQLITE_TRIGGERS = "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
_POSTGRESQL_REFERENCES = """
    SELECT parent.relname, child.relname,
        c.confdeltype IN ('c', 'n', 'd'), c.confupdtype IN ('c', 'n', 'd')
    FROM pg_constraint c JOIN pg_class parent ON parent.oid = c.confrelid
    JOIN pg_class child ON child.oid = c.conrelid WHERE c.contype = 'f'
"""
_POSTGRESQL_TRIGGERS = """
    SELECT t.relname, p.prosrc FROM pg_trigger g
    JOIN pg_class t ON t.oid = g.tgrelid JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE NOT g.tgisinternal
"""
_MARIADB_REFERENCES = f"""
    SELECT referenced_table_name, table_name,
        delete_rule IN {_ACTIONS}, update_rule IN {_ACTIONS}
    FROM information_schema.referential_constraints
    WHERE constraint_schema = %s
"""  # noqa: S608
_MARIADB_TRIGGERS = """
    SELECT event_object_table, action_statement FROM information_schema.triggers
    WHERE trigger_schema = %s
"""
_QUERIES = {
    "sqlite": (_SQLITE_REFERENCES, _SQLITE_TRIGGERS),
    "postgresql": (_POSTGRESQL_REFERENCES, _POSTGRESQL_TRIGGERS),
    "mysql": (_MARIADB_REFERENCES, _MARIADB_TRIGGERS),
}
_TRIGGERED = {
    "sqlite": """
        SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'
        UNION SELECT tbl_name FROM sqlite_temp_master WHERE type = 'trigger'
    """,
    # A rule may do what a trigger does; that of a view is what it shows.
    "postgresql": """
        SELECT t.relname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
        UNION SELECT t.relname FROM pg_rewrite r JOIN pg_class t ON t.oid = r.ev_class
        WHERE t.relkind IN ('r', 'p')
    """,
    "mysql": """
        SELECT event_object_table FROM information_schema.triggers
        WHERE trigger_schema = %s
    """,
}
# Columns that MariaDB sets when their row is updated without them.
_MARIADB_UPDATED = """
    SELECT table_name FROM information_schema.columns
    WHERE table_schema = %s AND extra LIKE '%%on update%%'
"""
_POSTGRESQL_COUNTS = """
    SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
    WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""


@dataclass(frozen=True)
class Schema:
    """
    The tables of a database, and what the database itself does to them.

    Attributes:
        tables: Their names.
        followers: For tables those whose rows the database may change with theirs, by
            references or triggers.
        referring: For tables those that refer to them.
    """

    tables: frozenset[str]
    followers: dict[str, set[str]]
    referring: dict[str, set[str]]

    def named_in(self, text: str) -> set[str]:
        """Return the tables whose names are in a text."""
        return _tables_in(text, self.tables)

    def written_by(self, text: str) -> set[str]:
        """Return the tables that a statement writes to by itself."""
        text = _COMMENTS.sub(" ", text)
        return {
            table
            for match in _TARGETS.finditer(text)
            for group in match.groups()
            if group
            for table in self.named_in(group)
        }

    def with_followers(self, tables: Iterable[str]) -> set[str]:
        """Return tables with those that the database may change with them."""
        found: set[str] = set()
        left = list(tables)
        while left:
            table = left.pop()
            if table not in found:
                found.add(table)
                left.extend(self.followers.get(table, ()))
        return found


def schema_of(connection: BaseDatabaseWrapper) -> Schema:
    """Ask a database for its tables, references and triggers."""
    followers: dict[str, set[str]] = defaultdict(set)
    referring: dict[str, set[str]] = defaultdict(set)
    references, triggers = _QUERIES[connection.vendor]
    with connection.cursor() as cursor:
        tables = frozenset(connection.introspection.table_names(cursor))
        cursor.execute(references, _names(connection))
        for parent, child, *acts in cursor.fetchall():
            referring[parent].add(child)
            if any(acts):
                followers[parent].add(child)
        cursor.execute(triggers, _names(connection))
        for table, code in cursor.fetchall():
            followers[table].update(_tables_in(str(code), tables) - {table})
    return Schema(tables, dict(followers), dict(referring))


def tables_with_triggers(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the tables whose writes make the database do more, in lower case."""
    return _tables_found(connection, _TRIGGERED[connection.vendor], _names(connection))


@dataclass(frozen=True)
class References:
    """
    What the database does to rows by the definition of its tables, in lower case.

    Attributes:
        deleted_further: The tables where deleting a row changes others, since these
            refer to it with ON DELETE.
        updated_further: Those where updating a row does more, for ON UPDATE of what
            refers to it, or of a column.
        referring: For tables those that refer to them.
    """

    deleted_further: frozenset[str]
    updated_further: frozenset[str]
    referring: dict[str, set[str]]


def references_of(connection: BaseDatabaseWrapper) -> References:
    """Ask a database for what writes to a row make it do more, and look at."""
    references, _ = _QUERIES[connection.vendor]
    referring: dict[str, set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(references, _names(connection))
        found = [(str(each[0]).lower(), *each[1:]) for each in cursor.fetchall()]
    for parent, child, *_ in found:
        referring[parent].add(str(child).lower())
    updated = {parent for parent, _, _, acts in found if acts}
    if connection.vendor == "mysql":
        updated |= _tables_found(connection, _MARIADB_UPDATED, _names(connection))
    deleted = {parent for parent, _, acts, _ in found if acts}
    return References(frozenset(deleted), frozenset(updated), dict(referring))


def _names(connection: BaseDatabaseWrapper) -> list[Any] | None:
    """
    Return the parameters of the queries above: of MariaDB's its database's name.

    No function is called for it: who watches a dry run cannot know what one writes.
    """
    return [connection.settings_dict["NAME"]] if connection.vendor == "mysql" else None


def _tables_found(
    connection: BaseDatabaseWrapper, query: str, names: list[Any] | None
) -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(query, names)
        return frozenset(str(table).lower() for (table,) in cursor.fetchall())


def names_in(text: str) -> set[str]:
    """Return the names in a statement, of tables and of whatever else, case-folded."""
    return {(quoted or plain).casefold() for quoted, plain in _NAME.findall(text)}


def bare_name(db_table: str) -> str:
    """Return the name of a model's table, which is the last where it has a schema."""
    return db_table.strip('"').rpartition('"."')[2]


def _tables_in(text: str, tables: Iterable[str]) -> set[str]:
    names = names_in(text)
    return {table for table in tables if table.casefold() in names}


def changed_rows(connection: BaseDatabaseWrapper) -> dict[str, int] | None:
    """
    Return how many rows of which tables the current transaction has changed so far.

    What was undone counts, and so does what no statement has named. None where the
    database does not tell.
    """
    if not is_postgresql(connection):
        return None
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_COUNTS)
        counts: dict[str, int] = {}
        for table, count in cursor.fetchall():
            counts[table] = counts.get(table, 0) + count
    return counts


def text_of(sql: Any, connection: Any) -> str:
    """Return the text of a statement, in whichever form it is executed."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes | bytearray):
        return sql.decode(errors="replace")
    compose = getattr(sql, "as_string", None)
    return str(compose(connection)) if compose is not None else str(sql)


def is_query(text: str) -> bool:
    """Return whether a statement only reads, unless a function in it writes."""
    text = _COMMENTS.sub(" ", text).lstrip(" \t\r\n(")
    start = text[:8].upper()
    if start.startswith("WITH"):
        return not _TARGETS.search(text)
    return start.startswith(("SELECT", "EXPLAIN", "SHOW", "VALUES", "DESCRIBE"))


def writes_rows(text: str) -> bool:
    """Return whether a statement writes by itself, and not in a function."""
    text = _COMMENTS.sub(" ", text).lstrip(" \t\r\n(")
    start = text[:8].upper()
    return start.startswith(_WRITES) or (
        start.startswith("WITH") and not is_query(text)
    )


def may_write_in_functions(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a function in a query may write without anything that tells."""
    return connection.vendor == "mysql"


def ending(text: str, connection: BaseDatabaseWrapper) -> str:
    """Return the part of a statement that would end the transaction; maybe empty."""
    if ";" not in text and text.startswith(_USUAL):
        return ""
    is_mysql = connection.vendor == "mysql"
    text = (_ESCAPED_TEXTS if is_mysql else _TEXTS).sub("''", text)
    text = _COMMENTS.sub(" ", text)
    if not is_mysql and _ROUTINE.match(text):
        # Its statements are executed when it is called.
        return ""
    for part in text.split(";"):
        words = " ".join(part.split()[:4]).upper()
        if _ends(words, connection):
            return words
    return ""


def _ends(words: str, connection: BaseDatabaseWrapper) -> bool:
    if words.startswith("ROLLBACK"):
        return not words.startswith(("ROLLBACK TO", "ROLLBACK WORK TO"))
    if connection.vendor == "mysql" and words.startswith(_COMMITTING):
        return not words.startswith(("CREATE TEMPORARY", "DROP TEMPORARY"))
    return _begins_with_word(words, _ENDINGS)


def _begins_with_word(words: str, beginnings: Iterable[str]) -> bool:
    return any(words == each or words.startswith(f"{each} ") for each in beginnings)


def refresh_checks(
    connection: BaseDatabaseWrapper, schema: Schema, tables: Iterable[str]
) -> None:
    """
    Have the database look now at what it would look at before a commit.

    Args:
        connection: With an open transaction.
        schema: The database's.
        tables: That were written to.

    Raises:
        IntegrityError: A reference leads nowhere.
    """
    if connection.vendor == "mysql":
        # It looks at each statement.
        return
    looked_at = {
        each for table in tables for each in (table, *schema.referring.get(table, ()))
    }
    if looked_at:
        names: Any = sorted(looked_at)
        connection.check_constraints(table_names=names)
