"""
Stored text in messages, logs and databases.

Those who may write to the store decide what topics, stream names and payloads
say, and errors that are raised for them repeat it. Nothing of that may end a
line, colour a terminal, reorder what stands next to it or be without an end.
"""

from __future__ import annotations

import re
import unicodedata

from eventsourcing.persistence import Notification

# Longer texts are cut in the middle: the beginning says what happened, and the
# end often why.
LONGEST_LINE = 1000
LONGEST_NAME = 200

_CUT = " [...] "
_REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# What changes the direction of writing without being seen: marks, and what opens and
# closes embeddings, overrides and isolates.
DIRECTION_CHARACTERS = (
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_EMBEDDINGS = frozenset("\u202a\u202b\u202d\u202e")
_ISOLATES = frozenset("\u2066\u2067\u2068")
_END_OF_EMBEDDING, _END_OF_ISOLATE = "\u202c", "\u2069"
_FIRST_STRONG_ISOLATE = "\u2068"


def one_line(error: BaseException | str, limit: int = LONGEST_LINE) -> str:
    """
    Return an error's text as one line that can be logged, stored and shown.

    White space becomes single spaces, and what cannot be seen is escaped, as
    in ``\\x1b``.

    Args:
        error: Whose class stands for a text that is empty; a text may be so itself.
        limit: Most characters; a longer text is cut in the middle.
    """
    text, if_empty = (
        (error, "")
        if isinstance(error, str)
        else (_text_of(error), type(error).__name__)
    )
    line = " ".join(_bounded(text, limit).split())
    return _cut(_visible(line or if_empty), limit)


def named_line(error: BaseException) -> str:
    """Return an error's class and text as one line; the class says it where none is."""
    name, line = one_line(type(error).__name__, LONGEST_NAME), one_line(error)
    return line if line == name else f"{name}: {line}"


def counted(number: int, one: str, several: str) -> str:
    """Return a number with its noun: ``1 event``, ``2 events``."""
    return f"{number} {one if number == 1 else several}"


def quoted(name: object, limit: int = LONGEST_NAME) -> str:
    """Return a name in quotes with what cannot be seen in it escaped."""
    return _cut(repr(_bounded(text_or_class(name), limit)), limit)


def text_or_class(value: object) -> str:
    """Return a value's text, and of one that has none, since it fails, its class."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def can_be_encoded(text: str) -> bool:
    """Return whether anything can be so named; not what has bytes of no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """
    Return text that every database stores and every page shows.

    PostgreSQL has no NUL, and what JSON can say of half a surrogate pair
    cannot be encoded; a replacement character takes the place of both.
    """
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def isolated(text: str) -> str:
    """
    Return text that changes the direction of nothing that stands next to it.

    What can change it is put into a Unicode isolate, which HTML has as ``<bdi>``; all
    else is returned as it is.
    """
    if text.isascii() or not any(map(_has_direction, text)):
        return text
    return f"{_FIRST_STRONG_ISOLATE}{closed(text)}{_END_OF_ISOLATE}"


def closed(text: str) -> str:
    """Return text that closes each embedding and isolate it opens, and no other."""
    kept: list[str] = []
    open_ones: list[str] = []
    for char in text:
        if char in _EMBEDDINGS:
            open_ones.append(_END_OF_EMBEDDING)
        elif char in _ISOLATES:
            open_ones.append(_END_OF_ISOLATE)
        elif char == _END_OF_EMBEDDING:
            if not open_ones or open_ones[-1] != char:
                continue
            open_ones.pop()
        elif char == _END_OF_ISOLATE:
            if char not in open_ones:
                continue
            # It also ends the embeddings that were begun inside of the isolate.
            while open_ones[-1] != char:
                kept.append(open_ones.pop())
            open_ones.pop()
        kept.append(char)
    return "".join([*kept, *reversed(open_ones)])


def _has_direction(char: str) -> bool:
    return char in DIRECTION_CHARACTERS or unicodedata.bidirectional(char) in (
        "R",
        "AL",
    )


def describe(notification: Notification) -> str:
    """Return where an event is and what it is, without its data."""
    return (
        f"topic {quoted(notification.topic)}, "
        f"stream {quoted(notification.originator_id)}, "
        f"version {notification.originator_version}, position {notification.id}"
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        # An error whose text cannot be made is reported all the same. What is raised
        # here is the text's, also what would end a thread, as SystemExit.
        return ""


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _bounded(text: str, limit: int) -> str:
    # Ten megabytes need not be looked through for a line of a thousand characters.
    return _cut(text, 4 * limit)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    tail = limit // 4
    return text[: limit - tail - len(_CUT)] + _CUT + text[len(text) - tail :]
