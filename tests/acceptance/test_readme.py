"""What the README and the library's page show is run, and what they name exists."""

from __future__ import annotations

import code
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.docs.blocks import blocks_of
from tests.support.projects import ROOT, clean_environment
from tests.support.running_stores import store_variables

README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARY = ROOT / "docs" / "library.md"
URI = "esdb://localhost:2113?Tls=false"


def test_the_readme_has_every_part_of_the_story() -> None:
    """tests/acceptance/packaging follows it, which takes longer."""
    shown = list(blocks_of(ROOT / "README.md"))

    assert {block.file for block in shown} - {None} == {
        "mysite/settings.py",
        "school/admin.py",
        "school/domain.py",
        "school/models.py",
        "school/projections.py",
    }
    commands = "".join(block.text for block in shown if block.language == "sh")
    for command in ("startproject", "createsuperuser", "runserver", "shell"):
        assert f" {command}" in commands
    assert commands.count("runeventstore") == README.count(URI) == 1


def test_what_is_typed_into_python_is_made_of_single_lines() -> None:
    """An empty line would end what is indented, and what follows would be an error."""
    (typed,) = (
        b for b in blocks_of(ROOT / "README.md") if b.label == "python manage.py shell"
    )

    for line in typed.text.splitlines():
        assert code.compile_command(line) is not None


@pytest.mark.own_store("the page is written for one without TLS")
def test_the_story_of_the_library_runs_in_one_process_and_again(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    story = ""
    for block in blocks_of(LIBRARY):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            story += block.text.replace(URI, server.uri)
    assert story.count(server.uri) == 1
    assert story.count("assert ") == 3
    (tmp_path / "story.py").write_text(story, encoding="utf-8")

    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "story.py"],
            cwd=tmp_path,
            env={
                **clean_environment(),
                **store_variables(server),
                "PYTHONPATH": str(ROOT),
                "PYTHONWARNINGS": "error",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_knows_the_targets_that_are_named(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text))

    assert named <= targets
    assert "test" in named
