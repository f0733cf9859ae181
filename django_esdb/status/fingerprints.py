"""
Fingerprints of projections' definitions.

Rows are what a projection's code has made of events. When the code changes, rows
that are there stay as the old code made them. So the fingerprint of the code that
they were begun with is kept, and compared.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import io
import sys
import textwrap
import threading
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from django_esdb.registry import Registration, register_projection

# In place of one where rows are of more than one definition: it is that of none.
SEVERAL = "several definitions"

# Changes of these are not the project's.
_LIBRARIES = ("django_esdb", "eventsourcing", "django", "builtins", "abc", "typing")

_IGNORED = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
)
# Python 3.11 finds a class's source with a parser that may raise SystemError when two
# threads use it at once. Threads of other code may use it, too: then it is tried again.
_parser_lock = threading.Lock()
_ATTEMPTS = 10
# For each class Python parses its whole module, and dashboards ask again and again. It
# is the code that runs, too, whatever becomes of the file meanwhile.
_sources: WeakKeyDictionary[type[Any], str] = WeakKeyDictionary()

_STATEMENT_ENDS = frozenset((tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT))


def fingerprint(registration: Registration) -> str:
    """
    Return 64 hexadecimal digits that change when the definition does.

    The definition is the source of the projection's and the view's classes, with
    those of their base classes that are the project's, and the projection's topics.
    Comments, docstrings, white space, the order of the topics and the arguments of
    ``register_projection``, such as the failure policy, do not count. What the classes
    call elsewhere is not looked at. Any number of threads may call this at once.
    """
    digest = hashlib.sha256()
    classes = (registration.projection_class, registration.view_class)
    for cls in classes:
        for part in _definition(cls):
            digest.update(part.encode())
            digest.update(b"\0")
    topics = sorted(set(map(str, registration.projection_class.topics)))
    digest.update("\0".join(topics).encode())
    return digest.hexdigest()


def _definition(cls: type[Any]) -> Iterator[str]:
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] in _LIBRARIES:
            continue
        yield base.__qualname__
        try:
            yield _source(base)
        except (OSError, TypeError, tokenize.TokenError, SyntaxError):
            # No source at hand: what is left are the names.
            yield " ".join(sorted(vars(base)))


def _source(cls: type[Any]) -> str:
    with _parser_lock:
        if cls not in _sources:
            _sources[cls] = _read_source(cls)
        return _sources[cls]


def _read_source(cls: type[Any]) -> str:
    for _ in range(_ATTEMPTS - 1):
        with suppress(SystemError):
            return _significant(cls)
    return _significant(cls)


def _without_registration(source: str, names: Mapping[str, Any]) -> str:
    """Leave out a class's topics, which count by themselves, and its registration."""
    lines = source.splitlines(keepends=True)
    try:
        definition = ast.parse(source).body[0]
    except (SyntaxError, IndexError):
        # Such as one whose indentation cannot be told, with texts of many lines.
        return source
    if not isinstance(definition, ast.ClassDef):
        return source
    left_out: list[ast.expr | ast.stmt] = [
        *(each for each in definition.decorator_list if _registers(each, names)),
        *(each for each in definition.body if _sets_topics(each)),
    ]
    for node in left_out:
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            lines[number - 1] = "\n"
    return "".join(lines)


def _registers(decorator: ast.expr, names: Mapping[str, Any]) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = getattr(called, "attr", getattr(called, "id", ""))
    if name == "register_projection":
        return True
    # It may be imported as another name, or have some of its arguments already.
    found = _value(called, names)
    while isinstance(found, functools.partial):
        found = found.func
    return found is register_projection


def _value(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a name of a module stands for, with dots or without; else None."""
    if isinstance(expression, ast.Attribute):
        # Not of whatever is there: a property may do anything.
        owner = _value(expression.value, names)
        return vars(owner).get(expression.attr) if inspect.ismodule(owner) else None
    return names.get(expression.id) if isinstance(expression, ast.Name) else None


def _sets_topics(statement: ast.stmt) -> bool:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return any(isinstance(each, ast.Name) and each.id == "topics" for each in targets)


def _significant(cls: type[Any]) -> str:
    source = textwrap.dedent(inspect.getsource(cls))
    names = getattr(sys.modules.get(cls.__module__), "__dict__", {})
    readline = io.StringIO(_without_registration(source, names)).readline
    tokens = list(tokenize.generate_tokens(readline))
    texts: list[str] = []
    before = tokenize.NEWLINE
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        is_docstring = (
            token.type == tokenize.STRING
            and before in _STATEMENT_ENDS
            and following is not None
            and following.type == tokenize.NEWLINE
        )
        if token.type not in _IGNORED and not is_docstring:
            texts.append(token.string)
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            before = token.type
    # Later Pythons make several tokens of a formatted string.
    return "".join("".join(texts).split())
