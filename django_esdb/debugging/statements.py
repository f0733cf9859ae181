"""Which rows a statement is about, as far as its text tells for certain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | `[^`]*` | %s | %% | \w+ | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
_MARK = "%s"
# With these a statement is about other rows than its condition says.
_MORE = ("LIMIT", "ORDER", "WITH")
_CASTS = re.compile(r"\(?%s\)?(?:::[\w\[\](),]+)?")


class Wanted(Enum):
    """How the rows that a statement is about are told."""

    CONDITION = auto()
    KEYS = auto()
    NEW_NUMBERS = auto()


@dataclass(frozen=True)
class Rows:
    """
    The rows that a statement is about.

    Attributes:
        wanted: How they are told.
        sources: SQL of what else the condition is about; maybe empty.
        condition: SQL that is true of them; empty for all.
        params: Of both; None where the statement has none.
        keys: Values of their keys' columns.
    """

    wanted: Wanted
    sources: str = ""
    condition: str = ""
    params: Sequence[Any] | None = None
    keys: Sequence[tuple[Any, ...]] = ()


def rows_of(
    text: str, params: Any, table: str, key_columns: Sequence[str]
) -> Rows | None:
    """
    Return which rows a statement on one table is about; None if that is not certain.

    Args:
        text: The statement, with ``%s`` for parameters.
        params: Its parameters, in their order.
        table: The table that it writes to.
        key_columns: Of the table's primary key.
    """
    if params is not None and not isinstance(params, list | tuple):
        return None
    tokens = [token for token in _TOKEN.findall(text) if not token.isspace()]
    if len(tokens) < 3 or tokens.count(_MARK) != len(params or ()):
        return None
    first = tokens[0].upper()
    if first in ("UPDATE", "DELETE"):
        return _of_condition(text, tokens, params, table, key_columns)
    if first == "INSERT":
        return _of_insertion(tokens, params or (), key_columns)
    return None


def _of_condition(
    text: str,
    tokens: Sequence[str],
    params: Sequence[Any] | None,
    table: str,
    key_columns: Sequence[str],
) -> Rows | None:
    is_update = tokens[0].upper() == "UPDATE"
    name, before, source = (1, 2, "FROM") if is_update else (2, 1, "USING")
    keyword = "SET" if is_update else "FROM"
    if _unquoted(tokens[name]) != table or tokens[before].upper() != keyword:
        return None
    places: dict[str, int] = {}
    end = len(tokens)
    for index, token in _outside(tokens, 3):
        word = token.upper()
        if word == "RETURNING":
            end = index
            break
        if word in _MORE:
            return None
        if word in (source, "WHERE"):
            places.setdefault(word, index)
        elif not places and _sets(tokens, index, key_columns):
            # The row is another one afterwards.
            return None
    where = places.get("WHERE", end)
    begin = places.get(source, where)
    first = tokens[:begin].count(_MARK)
    last = first + tokens[begin:end].count(_MARK)
    return Rows(
        Wanted.CONDITION,
        _text_between(text, begin, where) if begin < where else "",
        _text_between(text, where, end) if where < end else "",
        None if params is None else params[first:last],
    )


def _of_insertion(
    tokens: Sequence[str], params: Sequence[Any], key_columns: Sequence[str]
) -> Rows | None:
    words = [token.upper() for token in tokens]
    end = next((i for i, word in _outside(words, 3) if word == "ON"), len(words))
    groups = list(_groups(tokens[:end]))
    begins = " ".join(words[1:4])
    is_plain = begins.startswith(("INTO ", "IGNORE INTO", "OR IGNORE INTO"))
    if not is_plain or not groups or not groups[0][0]:
        return None
    if not _is_about_keys_alone(words[end:], tokens[end:], key_columns):
        return None
    columns = [_unquoted(tokens[item[0]]) for item in groups[0]]
    if not set(key_columns) <= set(columns):
        return Rows(Wanted.NEW_NUMBERS) if len(key_columns) == 1 else None
    places = [columns.index(column) for column in key_columns]
    keys: list[tuple[Any, ...]] = []
    # A parameter is a whole column then.
    is_turned = "UNNEST" in words
    if not is_turned and "VALUES" not in words:
        return None
    for group in groups[1:]:
        if len(group) != len(columns):
            # Of what is returned, say.
            continue
        values = [_value(tokens, group[place], params) for place in places]
        found = tuple(value[0] for value in values if value is not None)
        if len(found) < len(values):
            return None
        keys += zip(*found, strict=True) if is_turned else [found]
    return Rows(Wanted.KEYS, keys=keys) if keys else None


def _is_about_keys_alone(
    words: Sequence[str], tokens: Sequence[str], key_columns: Sequence[str]
) -> bool:
    """Return whether only rows with the keys that are inserted are changed instead."""
    if not words or "NOTHING" in words:
        return True
    target = next(_groups(tokens), None)
    if words[1:2] != ["CONFLICT"] or target is None:
        return False
    return {_unquoted(tokens[item[0]]) for item in target if item} == set(key_columns)


def _value(
    tokens: Sequence[str], item: Sequence[int], params: Sequence[Any]
) -> tuple[Any] | None:
    """Return the parameter that an item is, in a tuple; None if it is none."""
    text = "".join(tokens[index] for index in item)
    if not _CASTS.fullmatch(text):
        return None
    at = next(index for index in item if tokens[index] == _MARK)
    return (params[tokens[:at].count(_MARK)],)


def _groups(tokens: Sequence[str]) -> Iterator[list[list[int]]]:
    """Yield the items of each outermost parenthesis, as indexes of their tokens."""
    depth = 0
    items: list[list[int]] = []
    for index, part in enumerate(tokens):
        if part == "(":
            depth += 1
            if depth == 1:
                items = [[]]
                continue
        elif part == ")":
            depth -= 1
            if depth == 0:
                yield items
                continue
        if depth == 1 and part == ",":
            items.append([])
        elif depth:
            items[-1].append(index)


def _outside(tokens: Sequence[str], start: int) -> Iterator[tuple[int, str]]:
    """Yield the tokens outside of parentheses, with their indexes."""
    depth = 0
    for index, part in enumerate(tokens):
        if part == "(":
            depth += 1
        elif part == ")":
            depth -= 1
        elif not depth and index >= start:
            yield index, part


def _sets(tokens: Sequence[str], index: int, columns: Sequence[str]) -> bool:
    is_set = tokens[index + 1 : index + 2] == ["="]
    return is_set and _unquoted(tokens[index]) in columns


def _unquoted(token: str) -> str:
    return token.strip('"`')


def _text_between(text: str, after: int, end: int) -> str:
    """Return the text behind one token and before another, which may be none."""
    start, index = 0, -1
    for match in _TOKEN.finditer(text):
        if match[0].isspace():
            continue
        index += 1
        if index == after:
            start = match.end()
        elif index == end:
            return text[start : match.start()].strip()
    return text[start:].strip()
