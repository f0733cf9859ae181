"""The README is followed to the letter, from an empty environment to the admin."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browsers import Browser, browsing, needs_browser
from tests.support.building import Built
from tests.support.docs.blocks import Block, blocks_of
from tests.support.ports import free_port
from tests.support.projects import ROOT, clean_environment
from tests.support.terminals import PROMPT, Terminal

README = ROOT / "README.md"
# Ten minutes, less what it takes to end before a test that hangs is ended by force.
SECONDS = 570
USER, PASSWORD = "headmistress", "woof-woof-woof"

_QUESTIONS = {
    r"Username[^\n]*: $": USER,
    r"Email address: $": "",
    r"Password: $": PASSWORD,
    r"Password \(again\): $": PASSWORD,
}
# What is said by commands that run until Ctrl-C, when they are ready.
_RUNNING = r"listening on esdb:\S+\n|Running \w+[^\n]*\n|Quit the server with[^\n]*\n"
_PYTHON = r">>> $"

# Django has written this one; the README adds to it.
_APPENDED_TO = "mysite/settings.py"


class Reader:
    """
    Who follows the README, and has ten minutes.

    Attributes:
        folder: The project's folder, once it is made.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self._began = time.monotonic()
        self._env = _empty_environment(folder, wheel)
        # In place of ports that may be in use.
        store, self._site = free_port(), free_port()
        self._changes = {
            "localhost:2113": f"localhost:{store}",
            "runeventstore": f"runeventstore --port {store}",
            "runserver": f"runserver {self._site}",
        }
        self._terminals = [self._new_terminal()]
        self._occupied: list[Terminal] = []

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        text = block.text
        for before, after in self._changes.items():
            text = text.replace(before, after)
        if block.file:
            self._write(block.file, text)
        elif block.language == "sh":
            self._type(text)
        else:
            self.type_in_python(text)

    def type_in_python(self, text: str) -> None:
        """Paste lines into the Python that runs in the first terminal."""
        terminal = self._terminals[0]
        for line in text.splitlines():
            terminal.type(line)
            terminal.expect(_PYTHON)
            assert "Traceback" not in terminal.said, terminal.said

    @property
    def site(self) -> str:
        return f"http://127.0.0.1:{self._site}"

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def stop(self) -> list[int]:
        """Press Ctrl-C wherever something runs; return the exit statuses."""
        return [terminal.interrupt() for terminal in self._occupied]

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()

    def _new_terminal(self) -> Terminal:
        return Terminal(self.folder, self._env, lambda: SECONDS - self.seconds)

    def _write(self, name: str, text: str) -> None:
        mode = "a" if name == _APPENDED_TO else "w"
        with (self.folder / name).open(mode, encoding="utf-8") as file:
            file.write(text)

    def _type(self, text: str) -> None:
        """Type commands into a terminal: the first, unless they continue running."""
        runs = text.rstrip().rpartition("\n")[2].startswith("python manage.py run")
        terminal = self._terminals[0]
        if runs:
            terminal = self._new_terminal()
            self._terminals.append(terminal)
            self._occupied.append(terminal)
        *lines, last = text.splitlines()
        for line in (*lines, last):
            terminal.type(line)
            self._attend_to(terminal, line, runs=runs and line == last)
            if line.startswith("cd "):
                self.folder /= line.removeprefix("cd ")

    def _attend_to(self, terminal: Terminal, line: str, *, runs: bool) -> None:
        """Answer what a command asks, until it has ended or is ready."""
        ready = [_RUNNING] if runs else [_PYTHON]
        while True:
            said = terminal.expect(PROMPT, *ready, *_QUESTIONS)[0]
            assert "?: (django_esdb" not in terminal.said, terminal.said
            answers = [a for asked, a in _QUESTIONS.items() if re.search(asked, said)]
            if not answers:
                break
            terminal.type(answers[0])
        ended = re.search(PROMPT, said)
        assert not ended or ended[1] == "0", f"{line}: {ended[1]}\n{terminal.said}"
        assert not (ended and runs), terminal.said


def _empty_environment(folder: Path, wheel: Path) -> dict[str, str]:
    """Return variables with which nothing is found but what Python and pip bring."""
    programs = folder / "bin"
    programs.mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    env = {
        name: value
        for name, value in clean_environment().items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))
    }
    # No index has the package yet, so pip is told where it lies.
    places = [env.get("PIP_FIND_LINKS", ""), str(wheel.parent)]
    return env | {
        "PATH": f"{programs}{os.pathsep}{env['PATH']}",
        "PIP_FIND_LINKS": " ".join(filter(None, places)),
        # Which takes a third of the time, and of most for nothing.
        "PIP_NO_COMPILE": "1",
    }


@pytest.fixture
def reader(built: Built, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, built.wheel)
    yield reader
    reader.close()


@pytest.fixture
def browser(reader: Reader, tmp_path: Path) -> Iterator[Browser]:
    with browsing(reader.site, tmp_path / "browser") as browser:
        yield browser


@pytest.mark.slow("makes an environment and a project, and looks at it in a browser")
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash in PATH")
@needs_browser
def test_the_readme_leads_to_a_row_in_the_admin_within_ten_minutes(
    reader: Reader, browser: Browser
) -> None:
    for block in blocks_of(README):
        reader.follow(block)
    # Once more: nothing is in the way of a second time.
    for block in blocks_of(README):
        if block.language == "python" and not block.file:
            reader.follow(block)

    browser.log_in(USER, PASSWORD, "/admin/")
    sections = [text.casefold() for text in browser.texts("#content-main caption")]
    assert "event sourcing" in sections
    browser.follow("Trained dogs")
    first, second = browser.texts("#result_list .field-name")
    assert first.startswith("Fido ")
    assert first != second
    assert all("fetch" in each for each in browser.texts("#result_list .field-tricks"))

    assert reader.stop() == [0, 0, 0]
    assert reader.seconds < SECONDS
    (installed,) = reader.folder.glob(".venv/lib/python*/site-packages/django_esdb")
    assert (installed / "registry.py").read_bytes() == (
        ROOT / "django_esdb" / "registry.py"
    ).read_bytes()
