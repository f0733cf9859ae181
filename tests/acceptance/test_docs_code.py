"""The Python that pages show is run as it stands, in the tutorial's project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docs.blocks import DOCS, PAGES, blocks_of
from tests.support.docs.following import follower
from tests.support.projects import ROOT

# Whose code has tests of its own.
ELSEWHERE = {"README.md", "docs/testing.md", "docs/tutorial.md"}
RUN = [
    str(page.relative_to(ROOT))
    for page in PAGES
    if any(block.language == "python" for block in blocks_of(page))
]


@pytest.mark.slow("makes a project, and runs all that pages show in it")
def test_the_python_of_the_pages_runs(tmp_path: Path) -> None:
    pages = [page for page in RUN if page not in ELSEWHERE]
    with follower(tmp_path) as project:
        for block in blocks_of(DOCS / "tutorial.md"):
            project.set_up(block)
        project.type("python manage.py runeventstore --in-memory")
        project.type("python manage.py runprojections")
        printed = project.run("-m", "tests.support.docs.running", *pages)

    assert printed.count(": run\n") == len(pages) > 10
