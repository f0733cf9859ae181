"""How the pages in docs/ become a site; ``make docs`` builds it, and checks links."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from tests.support.projects import ROOT

DOCS = ROOT / "docs"
HOME = "https://github.com/django-esdb/django-esdb/blob/main"


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "conf.py"))


def test_the_site_has_each_page_once_in_the_order_of_the_index(
    conf: dict[str, Any],
) -> None:
    trees = conf["toctrees"]((DOCS / "index.md").read_text(encoding="utf-8"))
    entries = [
        line for line in trees.splitlines() if line and not line.startswith((":", "`"))
    ]
    pages = {str(path.relative_to(DOCS))[:-3] for path in DOCS.rglob("*.md")}

    assert sorted(entries) == sorted(
        pages - {"index"} | {"../README", "../CONTRIBUTING", "../CHANGELOG"}
    )
    assert trees.count(":caption: ") > 3


def test_a_page_that_is_linked_twice_is_where_it_was_first(
    conf: dict[str, Any],
) -> None:
    trees = conf["toctrees"](
        "# Title\n[no](no.md)\n"
        "## One\n[a](a.md) [b](b/c.md)\n"
        "## Two\n[a](a.md) [d](d.md)\n"
    )

    assert trees == (
        "```{toctree}\n:hidden:\n:caption: One\n\na\nb/c\n```\n\n"
        "```{toctree}\n:hidden:\n:caption: Two\n\nd\n```\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see [tests](../tests/unit)", "see [tests](HOME/tests/unit)"),
        ("[security](../.github/SECURITY.md)", "[security](HOME/.github/SECURITY.md)"),
        ("[the file](../pyproject.toml)", "[the file](HOME/pyproject.toml)"),
        # These are pages, or lie next to them.
        ("[a](../README.md)", "[a](../README.md)"),
        ("[a](settings.md) [b](#x)", "[a](settings.md) [b](#x)"),
        ("[a](grafana/projections.json)", "[a](grafana/projections.json)"),
        # Sphinx tells that these lead nowhere.
        ("[a](../nothing.md)", "[a](../nothing.md)"),
        ("```\n[tests](../tests)\n```", "```\n[tests](../tests)\n```"),
    ],
)
def test_links_to_what_is_no_page_lead_to_the_code(
    conf: dict[str, Any], text: str, expected: str
) -> None:
    found = conf["with_links_to_code"](text, DOCS)

    assert found.replace(HOME, "HOME") == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("HOME/docs/admin.md", "docs/admin.md"),
        ("HOME/docs/howto/deploy.md#probes", "docs/howto/deploy.md#probes"),
        ("HOME/CHANGELOG.md", "CHANGELOG.md"),
        ("HOME/.github/SECURITY.md", "HOME/.github/SECURITY.md"),
        ("HOME/Makefile", "HOME/Makefile"),
        ("https://example.com/docs/admin.md", "https://example.com/docs/admin.md"),
    ],
)
def test_absolute_links_to_pages_lead_to_those_of_the_site(
    conf: dict[str, Any], link: str, expected: str
) -> None:
    text = f"see [it]({link.replace('HOME', HOME)})"

    found = conf["with_links_to_pages"](text, ROOT)

    assert found.replace(HOME, "HOME") == f"see [it]({expected})"


def test_the_first_page_leads_to_the_index() -> None:
    text = (DOCS / "site" / "index.html").read_text(encoding="utf-8")

    assert text.count("docs/index.html") == 2
