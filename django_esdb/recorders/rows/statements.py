"""What a statement that other code executes does to rows."""

from __future__ import annotations

import re
from enum import Enum, auto

# Functions and keywords before a parenthesis that change nothing; any other name may
# be a function that writes.
_NAMES = """
    abs all and any array array_agg as avg between bit_and bit_or by case cast ceil
    ceiling char_length coalesce concat concat_ws convert count cume_dist
    current_date current_time current_timestamp date date_format date_part
    date_trunc dense_rank distinct django_date_extract django_date_trunc
    django_datetime_cast_date django_datetime_extract django_datetime_trunc
    django_time_extract else end except exists extract filter first_value floor
    format from generate_series greatest group group_concat having hex if ifnull in
    intersect interval into is isnull join json_agg json_extract json_object
    json_type json_unquote jsonb_agg jsonb_build_object jsonb_extract_path lag
    last_value lateral lead least left length like limit ln log lower lpad ltrim max
    md5 min mod not now ntile nullif numeric offset on or order over partition
    percent_rank position power random rank regexp replace reverse right round row
    row_number rpad rtrim select sha1 sign sqrt statement_timestamp strftime
    string_agg strpos substr substring sum then to_char trim trunc truncate union
    unnest upper using utc_timestamp values varchar when where with within
"""
_HARMLESS = frozenset(_NAMES.split())
_CALLED = re.compile(r'([A-Za-z_][\w.]*|"[^"]+"|`[^`]+`)\s*\(')
_COMMENTS = re.compile(r"(?:\s|/\*.*?\*/|--[^\n]*\n)+", re.DOTALL)
_READS = ("SELECT", "EXPLAIN", "SHOW", "PRAGMA", "SET ")


class Statement(Enum):
    """What a statement is."""

    READ = auto()
    WRITE = auto()
    SAVEPOINT = auto()
    RELEASE = auto()
    ROLLBACK = auto()


def kind_of(text: str) -> Statement:
    """
    Return what a statement is; one that is not known to only read is a write.

    A SELECT that calls a function not known to be harmless counts as a write, too, and
    so do several statements in one, unless all of them only read.
    """
    first, *others = text.strip().rstrip(";").split(";")
    kind = _kind_of_one(first)
    if others and kind is Statement.READ:
        kinds = map(_kind_of_one, others)
        return kind if all(k is Statement.READ for k in kinds) else Statement.WRITE
    return kind


def _kind_of_one(text: str) -> Statement:
    if text.startswith(("/*", "--", " ", "\n")):
        text = _COMMENTS.sub("", text, count=1)
    start = text[:24].upper()
    if start.startswith("SAVEPOINT"):
        return Statement.SAVEPOINT
    if start.startswith("RELEASE"):
        return Statement.RELEASE
    if start.startswith("ROLLBACK"):
        return Statement.ROLLBACK
    if not start.startswith(_READS):
        return Statement.WRITE
    if start.startswith("EXPLAIN"):
        # It executes what it explains, if it is to measure it.
        return Statement.WRITE if "ANALY" in text.upper() else Statement.READ
    if start.startswith(("SELECT", "SET ")) and any(
        name.lower() not in _HARMLESS for name in _CALLED.findall(text)
    ):
        return Statement.WRITE
    return Statement.READ
