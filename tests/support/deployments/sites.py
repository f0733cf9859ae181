"""Web servers as processes of their own, and what their visitors do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import count
from urllib.parse import urlencode

from example_project.training_school.domain import Dog
from tests.support.processes import SECONDS, Watched
from tests.support.projects import ROOT, Project

_CSRF_TOKEN = re.compile("csrftoken=([A-Za-z0-9]+)")


@dataclass
class Answer:
    """
    What a server has answered.

    Attributes:
        process: ID of the process that did.
        loaded_in: ID of the process that had loaded the application.
    """

    status: int
    text: str
    cookies: str
    process: int
    loaded_in: int


class Site(Watched):
    """
    A web server that serves the example.

    Attributes:
        port: Where it listens on loopback.
        registered: The dogs that were registered, by the process that did it.
    """

    def __init__(self, process: subprocess.Popen[str], port: int = 0) -> None:
        super().__init__(process)
        self.port = port
        self.registered: dict[str, int] = {}
        self._numbers = count()

    def find_port(self, pattern: str) -> None:
        """Take the port from a line of the output."""
        self.wait_for_match(pattern)
        (match, *_) = filter(None, (re.search(pattern, line) for line in self.lines))
        self.port = int(match[1])

    def get(self, path: str) -> Answer:
        return self._request("GET", path)

    def register(self) -> Answer:
        """Register another dog with the form, as a browser does."""
        name = f"dog {next(self._numbers)}"
        form = self.get("/dogs/register/")
        found = _CSRF_TOKEN.search(form.cookies)
        assert found, form
        data = {"name": name, "csrfmiddlewaretoken": found[1]}
        answer = self._request("POST", "/dogs/register/", data, f"csrftoken={found[1]}")
        assert answer.status == 302, answer
        self.registered[name] = answer.process
        return answer

    def register_in(self, processes: int, but_not: int = 0) -> set[int]:
        """
        Register dogs until so many processes have done it, and read them all.

        Args:
            processes: How many.
            but_not: One that is gone.

        Returns:
            The processes' IDs.
        """
        end = time.monotonic() + SECONDS
        before = set(self.registered)
        while True:
            with ThreadPoolExecutor(4) as visitors:
                list(visitors.map(lambda _: self.register(), range(4)))
            used = {p for name, p in self.registered.items() if name not in before}
            if len(used) >= processes:
                break
            assert time.monotonic() < end, (Counter(self.registered.values()), used)
        assert but_not not in used
        for name in self.registered:
            self.wait_for_page(f"/dogs/{Dog.create_id(name)}/", name)
        self.wait_for_page("/", f'<dd id="dogs">{len(self.registered)}</dd>')
        return used

    def replace_a_worker(self, says: str) -> bool:
        """
        Kill a process, and see that another one takes its place.

        Args:
            says: What the server then says, a pattern with a field ``killed``.

        Returns:
            Whether the site was loaded by the parent.
        """
        workers = self.register_in(2)
        is_preloaded = self.get("/").loaded_in == self.process.pid
        killed = min(workers)
        os.kill(killed, signal.SIGKILL)
        self.wait_for_match(says.format(killed=killed))
        assert len(self.register_in(2, but_not=killed)) == 2
        return is_preloaded

    def wait_for_page(self, path: str, text: str) -> Answer:
        """Read a page until it has a text."""
        end = time.monotonic() + SECONDS
        while text not in (answer := self.get(path)).text or answer.status != 200:
            assert time.monotonic() < end, answer
            time.sleep(0.05)
        return answer

    def is_gone(self) -> bool:
        """Tell whether nothing is left of it, not even of what it has started."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Shut it down cleanly; return its status when all its processes are gone."""
        self.process.send_signal(number)
        status = self.status()
        end = time.monotonic() + SECONDS
        while not self.is_gone():
            assert time.monotonic() < end, self.lines
            time.sleep(0.02)
        assert not [line for line in self.lines if "Traceback" in line], "\n".join(
            self.lines
        )
        return status

    def _request(
        self,
        method: str,
        path: str,
        data: dict[str, str] | None = None,
        cookies: str = "",
    ) -> Answer:
        end = time.monotonic() + SECONDS
        while True:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
            try:
                headers = {"Cookie": cookies}
                if data is not None:
                    headers["Content-Type"] = "application/x-www-form-urlencoded"
                connection.request(
                    method, path, urlencode(data) if data is not None else None, headers
                )
                return _answer(connection.getresponse())
            except (OSError, HTTPException):
                # Not listening yet, or its process has just been ended.
                assert self.process.poll() is None, self.lines
                assert time.monotonic() < end, self.lines
                time.sleep(0.05)
            finally:
                connection.close()


def _answer(response: HTTPResponse) -> Answer:
    return Answer(
        status=response.status,
        text=response.read().decode(),
        cookies=response.getheader("Set-Cookie", ""),
        process=int(response.getheader("X-Process", "0")),
        loaded_in=int(response.getheader("X-Loaded-In", "0")),
    )


@contextmanager
def serving(project: Project, *arguments: str, port: int = 0) -> Iterator[Site]:
    """
    Run a web server until the block ends, which kills all of it.

    Args:
        project: Whose environment it gets.
        arguments: The program and its arguments.
        port: Where it will listen, if that is known.
    """
    process = subprocess.Popen(
        arguments,
        env=project.env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own, by which it can be ended and missed as a whole.
        start_new_session=True,
    )
    with process:
        site = Site(process, port)
        try:
            yield site
        finally:
            if not site.is_gone():
                os.killpg(process.pid, signal.SIGKILL)
            site.status()


def python_module(name: str) -> tuple[str, ...]:
    """Return the beginning of a command that runs a module."""
    return (sys.executable, "-m", name)
