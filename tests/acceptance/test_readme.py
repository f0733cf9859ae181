"""What the README shows is run as it stands, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.projects import ROOT, clean_environment
from tests.support.running_stores import store_variables

README = (ROOT / "README.md").read_text(encoding="utf-8")
URI = "esdb://localhost:2113?Tls=false"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_LINE = re.compile(r"# (\S+\.py)\n")
_SHELL_LINE = "# python manage.py shell\n"

# Django's own command writes this one; the README adds to it.
_APPENDED_TO = "mysite/settings.py"


class Walkthrough:
    """
    A folder in which the README is followed.

    Attributes:
        folder: Where the files that it shows are written.
        uri: The event store that takes the place of the README's.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self.env = {
            **clean_environment(),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
        }
        (folder / "school").mkdir()
        (folder / "school" / "__init__.py").touch()

    def blocks(self) -> list[str]:
        """Return the Python blocks in order, with this event store's address."""
        return [block.replace(URI, self.uri) for block in _BLOCK.findall(README)]

    def story(self) -> str:
        """Return what is run in one process: the blocks that name no file."""
        return "".join(
            block
            for block in self.blocks()
            if not _FILE_LINE.match(block) and not block.startswith(_SHELL_LINE)
        )

    def shell(self) -> str:
        """Return what is typed into Django's shell."""
        return "".join(b for b in self.blocks() if b.startswith(_SHELL_LINE))

    def write_files(self, *folders: str) -> None:
        """Write the files that the README shows in the named folders."""
        for block in self.blocks():
            named = _FILE_LINE.match(block)
            if named and named[1].startswith(folders):
                mode = "a" if named[1] == _APPENDED_TO else "w"
                with (self.folder / named[1]).open(mode, encoding="utf-8") as file:
                    file.write(block)

    def run(self, *arguments: str) -> str:
        """Run Python to its end; return what it printed."""
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run Python until the block ends."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()
                # Read to its end, so that nothing is written to a closed pipe.
                process.communicate()


@pytest.fixture
def walkthrough(server: EmbeddedServer, tmp_path: Path) -> Walkthrough:
    walkthrough = Walkthrough(tmp_path, server.uri)
    walkthrough.env |= store_variables(server)
    return walkthrough


def test_the_readme_has_every_part_of_the_story(walkthrough: Walkthrough) -> None:
    files = {m[1] for m in map(_FILE_LINE.match, walkthrough.blocks()) if m}

    assert files == {
        "mysite/settings.py",
        "school/admin.py",
        "school/domain.py",
        "school/models.py",
        "school/projections.py",
    }
    assert walkthrough.story().count(walkthrough.uri) == 1
    assert walkthrough.story().count("assert ") == 3
    assert walkthrough.shell().count("assert ") == 1


def test_the_story_runs_in_one_process(walkthrough: Walkthrough) -> None:
    walkthrough.write_files("school/domain")
    script = walkthrough.folder / "story.py"
    script.write_text(walkthrough.story(), encoding="utf-8")

    walkthrough.run("story.py")


@pytest.mark.slow("makes a project as the README says")
def test_the_django_part_makes_a_project_that_works(walkthrough: Walkthrough) -> None:
    walkthrough.run("-m", "django", "startproject", "mysite", ".")
    walkthrough.write_files("school/", "mysite/")
    walkthrough.run("manage.py", "makemigrations", "school")
    walkthrough.run("manage.py", "migrate")
    walkthrough.run("manage.py", "check")

    with walkthrough.running("manage.py", "runprojections") as projections:
        assert projections.stdout is not None
        assert "SchoolProjection" in projections.stdout.readline()
        walkthrough.run("manage.py", "shell", "-c", walkthrough.shell())
    assert projections.returncode == 0

    walkthrough.run("manage.py", "runprojections", "--until-caught-up")
    assert "SchoolProjection" in walkthrough.run("manage.py", "showprojections")


def test_make_knows_the_targets_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", README))

    assert {"demo", "test", "lint", "install-packages"} <= named
    assert named <= targets


def test_django_knows_the_commands_that_the_readme_names() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    ours = {name for name, app in get_commands().items() if app == "django_esdb"}

    assert named <= set(get_commands())
    assert ours <= named


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("runprojections", "--until-caught-up"),
        ("showprojections", "--json"),
        ("runeventstore", "--data"),
    ],
)
def test_commands_take_the_options_that_the_readme_names(
    command: str, option: str
) -> None:
    assert option in README
    parser = load_command_class("django_esdb", command).create_parser("x", command)
    assert option in parser.format_help()
