"""
The documentation as a web site: ``make docs`` builds it.

The pages are plain Markdown with relative links, so that they can be read where the
code is hosted, too. The site is made of the repository's root, so that links to the
README and to CONTRIBUTING lead to pages as well.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
_DOCS = ROOT / "docs"
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
project_copyright = author
version = release = _PROJECT["version"]

_HOME = _PROJECT["urls"]["Homepage"]

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
# Folders that are not even looked into.
exclude_patterns = [".*", "build", "dist", "benchmarks", "tests", "requirements"]

# Links may lead to headings, by the names that these have where the code is hosted.
myst_heading_anchors = 6

html_theme = "furo"
html_title = f"{project} {version}"
# The page at the site's root, which leads to the index.
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False

# For «make docs-links», which asks other sites: not what only the reader has, nor what
# is published along with this.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)\b", re.escape(_HOME)]
linkcheck_timeout = 20
linkcheck_retries = 2

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"\]\(([\w./-]+)\.md\)")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#:]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def toctrees(text: str) -> str:
    """
    Return the site's table of contents: the index's sections, with the pages that
    they link to, in that order and each once.

    So the index is a plain page with lists of links, wherever it is read.
    """
    trees = []
    seen: set[str] = set()
    _, *parts = _SECTION.split(text)
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        pages = dict.fromkeys(page for page in _PAGE.findall(part) if page not in seen)
        seen |= pages.keys()
        if pages:
            entries = "\n".join(pages)
            trees.append(
                f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"
            )
    return "\n".join(trees)


def with_links_to_pages(text: str, folder: Path) -> str:
    """
    Return a page whose absolute links to pages lead to these pages of the site.

    The README has absolute ones, since it is shown apart from the code, too.
    """
    absolute = re.compile(
        rf"\]\({re.escape(_HOME)}/blob/main/([^)#\s]+\.md)([^)\s]*)\)"
    )

    def replaced(match: re.Match[str]) -> str:
        if not _is_page(ROOT / match[1]):
            return match[0]
        return f"]({os.path.relpath(ROOT / match[1], folder)}{match[2]})"

    return absolute.sub(replaced, text)


def _is_page(path: Path) -> bool:
    return path.suffix == ".md" and (path.parent == ROOT or _DOCS in path.parents)


def with_links_to_code(text: str, folder: Path) -> str:
    """
    Return a page whose links to what is no page lead to where the code is hosted: to
    folders, and to files outside of ``docs/``. In code blocks nothing is changed.
    """

    def replaced(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        is_near = target.is_file() and _DOCS in target.parents
        if is_near or _is_page(target) or not target.exists():
            return match[0]
        return f"[{match[1]}]({_HOME}/blob/main/{target.relative_to(ROOT)})"

    pieces = []
    end = 0
    for fence in _FENCE.finditer(text):
        pieces += [_LINK.sub(replaced, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, _LINK.sub(replaced, text[end:])])


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    folder = (ROOT / docname).parent
    source[0] = with_links_to_pages(source[0], folder)
    source[0] = with_links_to_code(source[0], folder)
    if docname == root_doc:
        source[0] += "\n" + toctrees(source[0])


def setup(app: Sphinx) -> None:
    # Sphinx's, which the project itself does not need.
    from pygments.lexers import YamlLexer

    # A name and a command in each line.
    app.add_lexer("procfile", YamlLexer)
    app.connect("source-read", _read)
