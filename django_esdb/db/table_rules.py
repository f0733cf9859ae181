"""Which rules a database holds a table's rows to: constraints and unique indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import is_mariadb


class RuleKind(Enum):
    """What a rule is; an exclusion counts as a check."""

    UNIQUE = auto()
    CHECK = auto()
    REFERENCE = auto()


@dataclass(frozen=True)
class TableRule:
    """
    One rule.

    Attributes:
        kind: What it is.
        name: Its name; a number where it has none, among those of its kind.
        columns: Those that it is about; None where that is not known, or it is about
            what is made of columns, or about some rows only.
        is_late: Whether the database may look at it when the transaction ends.
    """

    kind: RuleKind
    name: str
    columns: frozenset[str] | None
    is_late: bool = False


_SQLITE_TABLE = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s"
_SQLITE_UNIQUES = """
    SELECT l.name, i.name, l.partial
    FROM pragma_index_list(%s) l, pragma_index_info(l.name) i
    WHERE l."unique" AND l.origin <> 'pk'
"""
_SQLITE_REFERENCES = 'SELECT id, "from" FROM pragma_foreign_key_list(%s)'
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*""")
_CHECK = re.compile(r"\bCHECK\s*\(", re.IGNORECASE)

_POSTGRESQL_CONSTRAINTS = """
    SELECT c.contype, c.conname, a.attname, c.condeferrable
    FROM pg_constraint c
    LEFT JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
    WHERE c.conrelid = to_regclass(%s) AND c.contype IN ('c', 'x', 'f')
    UNION ALL
    SELECT 'u', x.relname,
        CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL THEN a.attname END,
        NOT i.indimmediate
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid
        AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
    WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND NOT i.indisprimary
"""
_KINDS = {
    "u": RuleKind.UNIQUE,
    "c": RuleKind.CHECK,
    "x": RuleKind.CHECK,
    "f": RuleKind.REFERENCE,
}
_MARIADB_CHECKS = """
    SELECT constraint_name FROM information_schema.check_constraints
    WHERE constraint_schema = %s AND table_name = %s
"""
_MYSQL_CHECKS = """
    SELECT constraint_name FROM information_schema.table_constraints
    WHERE table_schema = %s AND table_name = %s AND constraint_type = 'CHECK'
"""
_MYSQL_UNIQUES = """
    SELECT index_name, CASE WHEN sub_part IS NULL THEN column_name END
    FROM information_schema.statistics
    WHERE table_schema = %s AND table_name = %s AND non_unique = 0
        AND index_name <> 'PRIMARY'
"""
_MYSQL_REFERENCES = """
    SELECT constraint_name, column_name FROM information_schema.key_column_usage
    WHERE table_schema = %s AND table_name = %s AND referenced_table_name IS NOT NULL
"""


def rules_of_table(connection: BaseDatabaseWrapper, table: str) -> list[TableRule]:
    """Ask a database for the rules of a table, except for its primary key."""
    found: dict[tuple[RuleKind, str], tuple[set[str | None], bool]] = {}
    for kind, name, column, is_late in _ASK[connection.vendor](connection, table):
        columns, was_late = found.get((kind, name), (set(), False))
        columns.add(column)
        found[kind, name] = (columns, was_late or is_late)
    return [
        TableRule(
            kind,
            name,
            None if None in columns else frozenset(filter(None, columns)),
            is_late,
        )
        for (kind, name), (columns, is_late) in found.items()
    ]


# Kind, name, a column and whether it is looked at late, for each column.
_Found = Iterator[tuple[RuleKind, str, str | None, bool]]


def _ask_sqlite(connection: BaseDatabaseWrapper, table: str) -> _Found:
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE_TABLE, [table])
        text = _QUOTED.sub('""', (cursor.fetchone() or ("",))[0])
        for number, _ in enumerate(_CHECK.finditer(text)):
            yield RuleKind.CHECK, str(number), None, False
        cursor.execute(_SQLITE_UNIQUES, [table])
        for name, column, is_partial in cursor.fetchall():
            yield RuleKind.UNIQUE, name, None if is_partial else column, False
        cursor.execute(_SQLITE_REFERENCES, [table])
        for number, column in cursor.fetchall():
            yield RuleKind.REFERENCE, str(number), column, True


def _ask_postgresql(connection: BaseDatabaseWrapper, table: str) -> _Found:
    quoted = connection.ops.quote_name(table)
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_CONSTRAINTS, [quoted, quoted])
        for kind, name, column, is_late in cursor.fetchall():
            yield _KINDS[str(kind)], name, column, bool(is_late)


def _ask_mysql(connection: BaseDatabaseWrapper, table: str) -> _Found:
    names = [connection.settings_dict["NAME"], table]
    with connection.cursor() as cursor:
        query = _MARIADB_CHECKS if is_mariadb(connection) else _MYSQL_CHECKS
        cursor.execute(query, names)
        for (name,) in cursor.fetchall():
            yield RuleKind.CHECK, name, None, False
        cursor.execute(_MYSQL_UNIQUES, names)
        for name, column in cursor.fetchall():
            yield RuleKind.UNIQUE, name, column, False
        cursor.execute(_MYSQL_REFERENCES, names)
        for name, column in cursor.fetchall():
            yield RuleKind.REFERENCE, name, column, False


_ASK = {
    "sqlite": _ask_sqlite,
    "postgresql": _ask_postgresql,
    "mysql": _ask_mysql,
}
