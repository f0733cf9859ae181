"""Pages on which stored text cannot reorder what stands next to it."""

from __future__ import annotations

import re

from eventsourcing_eventstoredb.text import (
    DIRECTION_CHARACTERS,
    closed,
    isolated,
)

_ANY = re.compile(f"[{DIRECTION_CHARACTERS}]")
_PARTS = re.compile(
    # What is no text; elements that have text only, without tags; tags; text.
    r"(?P<other><!--.*?-->|<(?P<raw>script|style)\b.*?</(?P=raw)\s*>)"
    r"|(?P<begin><(?P<name>title|option|textarea)\b[^>]*>)"
    r"(?P<inner>.*?)(?P<end></(?P=name)\s*>)"
    r"|(?P<tag><[^>]*>)|(?P<text>[^<]+)",
    re.DOTALL | re.IGNORECASE,
)


def isolate_texts(page: str) -> str:
    """
    Return a page of HTML with each text that has direction characters in ``<bdi>``.

    What is begun in such a text ends with it. Where no tag may be, Unicode isolates
    take its place; in the title, which has the page's own text next to that of a row,
    a replacement character does.
    """
    return _PARTS.sub(_isolate, page) if _ANY.search(page) else page


def _isolate(match: re.Match[str]) -> str:
    if (text := match["text"]) is not None and _ANY.search(text):
        return f"<bdi>{closed(text)}</bdi>"
    if (inner := match["inner"]) is not None and _ANY.search(inner):
        is_title = match["name"].lower() == "title"
        inner = _ANY.sub("\ufffd", inner) if is_title else isolated(inner)
        return f"{match['begin']}{inner}{match['end']}"
    return match[0]
