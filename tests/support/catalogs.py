"""Reading translations' files, without the tools of GNU gettext."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.utils.translation.template import templatize

_CONTEXT_END = "\x04"
_PLURAL_END = "\0"
_CALLS = ("gettext", "gettext_lazy", "gettext_noop", "_")
_PLURAL_CALLS = ("ngettext", "ngettext_lazy")
_CONTEXT_CALLS = ("pgettext", "npgettext")
_LINE = re.compile(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) (".*")')


@dataclass
class Entry:
    """
    A text and its translations.

    Attributes:
        id: As compiled files have it: with its context, its plural behind it.
        texts: The translations, one for each number where it has a plural.
        is_fuzzy: Whether it has to be looked at again.
        flags: What the line of flags says.
    """

    id: str = ""
    texts: list[str] = field(default_factory=list)
    is_fuzzy: bool = False
    flags: str = ""


def entries(path: Path) -> Iterator[Entry]:
    """Return the entries of a ``.po`` file, its header first, with an empty id."""
    for block in re.split(r"\n{2,}", path.read_text(encoding="utf-8").strip()):
        entry, parts, current = Entry(), {}, ""
        for line in block.splitlines():
            if line.startswith("#,"):
                entry.flags = line
                entry.is_fuzzy = "fuzzy" in line
            elif match := _LINE.fullmatch(line):
                current = match[1]
                parts[current] = ast.literal_eval(match[2])
            elif line.startswith('"'):
                parts[current] += ast.literal_eval(line)
        if not parts:
            continue
        context = parts.pop("msgctxt", None)
        entry.id = f"{context}{_CONTEXT_END}" if context is not None else ""
        entry.id += parts.pop("msgid")
        if "msgid_plural" in parts:
            entry.id += _PLURAL_END + parts.pop("msgid_plural")
        entry.texts = [parts[key] for key in sorted(parts)]
        yield entry


def compiled(path: Path) -> dict[str, list[str]]:
    """Return what a ``.mo`` file has: translations by their text's id."""
    content = path.read_bytes()
    with path.open("rb") as stream:
        # Raises for what is no such file.
        gettext.GNUTranslations(stream)

    def number(offset: int) -> int:
        return int.from_bytes(content[offset : offset + 4], "little")

    def text(table: int, index: int) -> str:
        length, start = number(table + index * 8), number(table + index * 8 + 4)
        return content[start : start + length].decode()

    count, ids, texts = number(8), number(12), number(16)
    return {
        text(ids, index): text(texts, index).split(_PLURAL_END)
        for index in range(count)
    }


def texts_of_code(folder: Path) -> set[str]:
    """Return the ids of all texts that a folder's modules and templates mark."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        found.update(_marked(path.read_text(encoding="utf-8")))
    for path in folder.rglob("*.html"):
        code = templatize(path.read_text(encoding="utf-8"))
        for call in re.findall(r"(?:n?p?gettext|_)\(.*?\)(?= |$|\n)", code):
            found.update(_marked(call))
    return found


def _marked(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        texts = [
            each.value
            for each in node.args
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        if node.func.id in _CONTEXT_CALLS:
            yield f"{texts[0]}{_CONTEXT_END}{_PLURAL_END.join(texts[1:])}"
        elif node.func.id in _PLURAL_CALLS:
            yield _PLURAL_END.join(texts)
        elif node.func.id in _CALLS and texts:
            yield texts[0]


def texts_left_in_english(html: str, file: Path) -> set[str]:
    """
    Return the texts of a page that a catalog has a translation of, in lower case.

    Args:
        html: The page.
        file: The catalog, a ``.po`` file.
    """
    english, translated = set(), set()
    for entry in entries(file):
        for part, text in zip(entry.id.split("\0"), entry.texts, strict=True):
            english.add(part.casefold())
            translated.add(text.casefold())
    shown = {each.strip(" \n:") for each in re.findall(r">([^<]+)<", html)}
    # Some are the same word in both, such as a position.
    return {each.casefold() for each in shown} & (english - translated - {""})
