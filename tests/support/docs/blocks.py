"""What the documentation's pages show: code blocks, and commands within the text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.projects import ROOT

DOCS = ROOT / "docs"
PAGES = (*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md")

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """
    A code block.

    Attributes:
        page: The page's path, from the repository's root.
        line: Of the page, counted from 1, where the block begins.
        language: As it is named; empty if it is not.
        text: What is in it, without what it is indented by.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def label(self) -> str:
        """What its first line says, if that is a comment; else an empty text."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("# ") if first.startswith("# ") else ""

    @property
    def file(self) -> str | None:
        """The Python file that its first line names, if it names one."""
        is_file = self.label.endswith(".py") and " " not in self.label
        return self.label if is_file else None


@cache
def blocks_of(path: Path) -> tuple[Block, ...]:
    """Return a page's code blocks, in order."""
    text = path.read_text(encoding="utf-8")
    return tuple(
        Block(
            page=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"].strip(),
            text=textwrap.dedent(match["text"]),
        )
        for match in _BLOCK.finditer(text)
    )


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks of all pages; of these languages if any is named."""
    return [
        block
        for page in PAGES
        for block in blocks_of(page)
        if not languages or block.language in languages
    ]


def inline_code(path: Path) -> Iterator[str]:
    """Yield what a page has in single backticks."""
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    yield from _INLINE.findall(text)
