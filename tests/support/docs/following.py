"""Doing what a page of the documentation says, block by block, in an empty folder."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.support.docs.blocks import Block
from tests.support.docs.commands import typed
from tests.support.ports import free_port
from tests.support.projects import ROOT, clean_environment

URI = "esdb://localhost:2113?Tls=false"
SECONDS = 120

_FILE_LINE = re.compile(r"# (\S+\.py)\n")
_SHELL_LINE = "# python manage.py shell\n"
# Django's own command writes this one; pages add to it.
_APPENDED_TO = "mysite/settings.py"
# So that nothing is called lost or unwell that a busy machine has kept waiting.
_PATIENCE = "\nESDB_LEASE_SECONDS = 120\nESDB_MAX_IDLE = 3600\n"
# Those that run until they are stopped.
_SERVERS = ("runeventstore", "runprojections", "runserver")


class Follower:
    """
    Follows a page as its reader does, who types a command anew to restart it.

    Attributes:
        folder: The project's.
        printed: What the last command that has ended has printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.uri = f"esdb://localhost:{free_port()}?Tls=false"
        self.site = free_port()
        self._env = {
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), "."]),
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "EVENTSTOREDB_URI": self.uri,
            "DJANGO_SUPERUSER_USERNAME": "anna",
            "DJANGO_SUPERUSER_EMAIL": "anna@example.com",
            "DJANGO_SUPERUSER_PASSWORD": "only for this test",
        }
        self._running: dict[str, subprocess.Popen[str]] = {}

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        if block.language == "console":
            for line in typed(block):
                self.type(line)
        elif block.text.startswith(_SHELL_LINE):
            # However long it takes on a busy machine.
            code = re.sub(r"timeout=\d+", f"timeout={SECONDS}", block.text)
            self.run("manage.py", "shell", "-c", code)
        elif named := _FILE_LINE.match(block.text):
            self._write(named[1], block.text.replace(URI, self.uri))
        else:
            self._replace_method("school/projections.py", block.text)

    def set_up(self, block: Block) -> None:
        """Do what one block says, but only as far as it makes the project."""
        if block.language == "console":
            for line in typed(block):
                if re.search(r"startproject|startapp|makemigrations|migrate", line):
                    self.type(line)
        elif not block.text.startswith(_SHELL_LINE):
            self.follow(block)

    def run(self, *arguments: str) -> str:
        """Run Python to its end; return what it printed."""
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=5 * SECONDS,
        )
        self.printed = result.stdout + result.stderr
        assert result.returncode == 0, self.printed
        return self.printed

    def stop(self, name: str) -> None:
        """End a command that runs, as Ctrl-C does."""
        process = self._running.pop(name)
        process.terminate()
        process.communicate(timeout=SECONDS)

    def stop_all(self) -> None:
        for name in list(self._running):
            self.stop(name)

    def type(self, line: str) -> None:
        """Do what is typed on a line of a terminal."""
        program, *arguments = shlex.split(line)
        if program == "pip":
            # It is this checkout.
            return
        assert program == "python", line
        for name in _SERVERS:
            if name in arguments and "--until-caught-up" not in arguments:
                self._start(name, arguments)
                return
        if "createsuperuser" in arguments:
            arguments.append("--no-input")
        self.run(*arguments)

    def _start(self, name: str, arguments: list[str]) -> None:
        if name in self._running:
            self.stop(name)
        if name == "runeventstore":
            arguments += ["--port", re.findall(r":(\d+)", self.uri)[0]]
        if name == "runserver":
            arguments += ["--noreload", f"127.0.0.1:{self.site}"]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE if name == "runeventstore" else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._running[name] = process
        if process.stdout is not None:
            assert "listening" in process.stdout.readline()
        if name == "runserver":
            self._wait_for_site()

    def _wait_for_site(self) -> None:
        end = time.monotonic() + SECONDS
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{self.site}/admin/login/") as answer:
                    assert answer.status == 200
                    return
            except OSError:
                assert time.monotonic() < end, "the site does not answer"
                time.sleep(0.1)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        if name == _APPENDED_TO:
            text = path.read_text(encoding="utf-8") + text + _PATIENCE
        path.write_text(text, encoding="utf-8")

    def _replace_method(self, name: str, text: str) -> None:
        path = self.folder / name
        code = path.read_text(encoding="utf-8")
        (method,) = ast.parse(text).body
        assert isinstance(method, ast.FunctionDef)
        (old,) = (
            node
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.FunctionDef) and node.name == method.name
        )
        lines = code.splitlines(keepends=True)
        assert old.end_lineno is not None
        indented = [
            " " * old.col_offset + line for line in text.splitlines(keepends=True)
        ]
        lines[old.lineno - 1 : old.end_lineno] = indented
        path.write_text("".join(lines), encoding="utf-8")


@contextmanager
def follower(folder: Path) -> Iterator[Follower]:
    """Return one whose commands are ended at the end of the block."""
    this = Follower(folder)
    try:
        yield this
    finally:
        this.stop_all()
