"""Starting the demo's parts, watching them, and stopping them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from django.db import Error as DatabaseError

from eventsourcing_eventstoredb.server.port_owner import port_owner
from example_project.demo.children import Child, clean_environment
from example_project.demo.folder import Folder
from example_project.demo.output import Output
from example_project.demo.site import prepare, rebuild_one

LOOPBACK = "127.0.0.1"
USER_NAME = "admin"
DOGS, TRICKS = 12, 4

_POLL_SECONDS = 0.05


class DemoError(Exception):
    """The demo cannot continue; the text says why."""


class _StopRequested(Exception):  # noqa: N818  (no error)
    """The demo was asked to end."""


class Demo:
    """
    Starts the parts one after another, and stops them in the opposite order.

    Args:
        folder: Where the data lies.
        site_port: The port of the web site, if it is free.
        event_store_port: The port of the event store, if it is free.
        is_stopping: Asked again and again whether all is to end.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        site_port: int,
        event_store_port: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.folder = folder
        self.output = Output()
        self._site_port = site_port
        self._event_store_port = event_store_port
        self._children: list[Child] = []
        self._is_stopping = is_stopping
        self._is_up = False
        self._password = folder.secret("admin-password", 9)

    def run(self) -> None:
        """
        Run until it is to stop; blocks until then, and until all has ended.

        Raises:
            DemoError: A part has ended or could not be started.
        """
        try:
            self._start()
            self._wait_for(lambda: False)
        except _StopRequested:
            self.output.say("Stopping ...")
        finally:
            while self._children:
                self._children.pop().stop()
        self.output.say(f"Stopped. The data stays in {self.folder.path}")

    def _start(self) -> None:
        self.output.say(f"Starting the demo; its data is in {self.folder.path}")
        env = self._environment()
        env["EVENTSTOREDB_URI"] = self._start_event_store(env)
        is_first = self._prepare_site(env)
        self._check()
        self.output.say("Starting the projections")
        projections = self._start_child("projections", "runprojections", env=env)
        self._seed(env)
        if is_first:
            rebuild_one(USER_NAME)
        self._wait_for(lambda: projections.find_line("Running ") is not None)
        address = self._start_site(env)
        self._is_up = True
        self._say_addresses(address, env["EVENTSTOREDB_URI"])

    def _start_event_store(self, env: dict[str, str]) -> str:
        port = self._choose_port("event store", self._event_store_port)
        self.output.say("Starting the event store")
        store = self._start_child(
            "event store",
            *("runeventstore", "--port", str(port), "--data", str(self.folder.events)),
            env=env,
        )
        self._wait_for(lambda: store.find_line("listening on ") is not None)
        return store.find_line("listening on ") or ""

    def _prepare_site(self, env: dict[str, str]) -> bool:
        self.output.say("Making the tables")
        try:
            return prepare(env, user_name=USER_NAME, password=self._password)
        except DatabaseError as error:
            raise DemoError(f"the site's database cannot be used: {error}") from None

    def _start_site(self, env: dict[str, str]) -> str:
        port = self._choose_port("web site", self._site_port)
        self.output.say("Starting the web site")
        self._start_child(
            "web site",
            *("runserver", f"{LOOPBACK}:{port}", "--noreload", "--insecure"),
            env=env,
        )
        self._wait_for(lambda: _listens(port))
        return f"http://{LOOPBACK}:{port}/"

    def _say_addresses(self, site: str, event_store: str) -> None:
        self.output.say(
            f"\n  Web site     {site}"
            f"\n  Admin        {site}admin/"
            f"\n    User       {USER_NAME}"
            f"\n    Password   {self._password}"
            f"\n  Dashboard    {site}admin/django_esdb/"
            f"\n  Event store  {event_store}\n"
            "\nCtrl-C stops all of it."
        )

    def _environment(self) -> dict[str, str]:
        return {
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DJANGO_DEBUG": "false",
            "DJANGO_SECRET_KEY": self.folder.secret("secret-key", 50),
            "DJANGO_ALLOWED_HOSTS": f"localhost,{LOOPBACK}",
            "DJANGO_RUNSERVER_HIDE_WARNING": "true",
            "EXAMPLE_SHOWCASE": "true",
            "DATABASE_URL": self.folder.database_url,
            # Keeps what a .env file says out of it.
            "EVENTSTOREDB_URI": "",
            "EVENTSTOREDB_ROOT_CERTIFICATES": "",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
        }

    def _seed(self, env: dict[str, str]) -> None:
        self.output.say(
            f"Recording {DOGS} dogs and their tricks, where that is not done"
        )
        seeding = Child(
            "seeding",
            "seed_training_school",
            *("--dogs", str(DOGS), "--tricks", str(TRICKS)),
            env=env,
        )
        try:
            self._wait_for(lambda: seeding.has_ended)
            if not seeding.succeeded:
                raise DemoError(seeding.why())
        finally:
            seeding.stop()

    def _start_child(self, name: str, *arguments: str, env: dict[str, str]) -> Child:
        child = Child(
            name,
            *arguments,
            env=env,
            say=lambda line: self._say_of(name, line),
        )
        self._children.append(child)
        return child

    def _say_of(self, name: str, line: str) -> None:
        # What they say while they start is told better by the addresses.
        if self._is_up:
            self.output.say(f"{name:<11} | {line}")

    def _choose_port(self, name: str, port: int) -> int:
        chosen = _free_port(port)
        if port and chosen != port:
            owner = port_owner(port)
            by = "" if owner is None else f" by {owner}, which «{owner.stop}» stops"
            self.output.say(f"Port {port} is taken{by}: the {name} gets port {chosen}")
        return chosen

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._check()
            time.sleep(_POLL_SECONDS)

    def _check(self) -> None:
        """Raise what ends the demo, if there is anything."""
        if self._is_stopping() or self.output.is_closed:
            raise _StopRequested
        for child in self._children:
            if child.has_ended:
                raise DemoError(child.why())


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        # As the servers do: connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            probe.bind((LOOPBACK, 0))
        chosen: int = probe.getsockname()[1]
        return chosen


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
