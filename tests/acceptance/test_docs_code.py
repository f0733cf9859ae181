"""The Python that pages show is run as it stands, in the tutorial's project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs.blocks import DOCS, PAGES, blocks_of
from tests.support.docs.commands import arguments_of, typed
from tests.support.docs.following import follower
from tests.support.projects import ROOT

# Whose code has tests of its own.
ELSEWHERE = {"README.md", "docs/library.md", "docs/testing.md", "docs/tutorial.md"}
# What changes nothing but what it is about, and succeeds in a project that is well.
HARMLESS = {
    "acceptprojection",
    "check",
    "checktopics",
    "migrate",
    "projectionhealth",
    "retryfailedevents",
    "showevents",
    "showprojections",
}
# The store that an application moves from.
OLD_STORE = """
from contextlib import closing
import django
django.setup()
from school.domain import TrainingSchool
env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": "old.sqlite3"}
with closing(TrainingSchool(env)) as school:
    school.register("Moved")
    school.add_trick("Moved", "fetch")
"""
RUN = [
    str(page.relative_to(ROOT))
    for page in PAGES
    if any(block.language == "python" for block in blocks_of(page))
]


def harmless_lines() -> Iterator[str]:
    """Yield, in order and once, what pages type that can be done in the project."""
    seen = set()
    for page in PAGES:
        if str(page.relative_to(ROOT)) in ELSEWHERE:
            continue
        for block in blocks_of(page):
            for line in typed(block) if block.language == "console" else ():
                name, *options = arguments_of(line) or [""]
                is_known = name in HARMLESS and not {"--watch", "archive"} & {*options}
                is_copy = name == "copyevents" and "TrainingSchool" in line
                if line not in seen and (
                    is_known or (is_copy and "SQLITE_DBNAME" in line)
                ):
                    seen.add(line)
                    yield line


@pytest.mark.slow("makes a project, and runs all that pages show in it")
def test_the_python_of_the_pages_runs(tmp_path: Path) -> None:
    pages = [page for page in RUN if page not in ELSEWHERE]
    with follower(tmp_path) as project:
        for block in blocks_of(DOCS / "tutorial.md"):
            project.set_up(block)
        project.type("python manage.py runeventstore --in-memory")
        project.type("python manage.py runprojections")
        printed = project.run("-m", "tests.support.docs.running", *pages)
        project.run("-c", OLD_STORE)
        lines = list(harmless_lines())
        for line in lines:
            project.type(line)

    assert printed.count(": run\n") == len(pages) > 10
    assert len(lines) > 10
