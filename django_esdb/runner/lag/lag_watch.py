"""Looking, all the time, how far an application's projections are behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone
from eventsourcing.application import Application

from django_esdb.applications.shared import make_application
from django_esdb.db.connections import ConnectionKeeper
from django_esdb.db.guards import limit_lock_waits
from django_esdb.exceptions import ViewDatabaseError
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.registry import Registration
from django_esdb.runner.lag.lag_measuring import REFRESH_SECONDS, LagMeasuring
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.subscriptions.heads import Head, find_head
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.text import one_line

logger = logging.getLogger("django_esdb.runner")

# How often the store is asked, and the database written at most.
LOOK_SECONDS = 1.0
# How long a look may take; and the last one, for which the end of a term waits.
_LOOK_LIMIT_SECONDS = 3.0
_LAST_LOOK_SECONDS = 1.0
# What is over sooner is not told of.
_AWAY_SECONDS = 2.0


class LagWatch:
    """
    Writes down, once a second if it has changed, how far projections are behind.

    Each process looks after those that it runs, and after those that none does, also
    where these have never run or are paused. It has a thread of its own, since a
    store that is away, or a projection in a long transaction, must hold up nothing
    else. What goes wrong here stops nothing: readers see when was measured last.

    Args:
        registrations: All projections of one application.
    """

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._registrations = list(registrations)
        self._measuring = LagMeasuring(self._registrations)
        # Guards what runs here. Never held while something is asked.
        self._lock = threading.Lock()
        self._runners: dict[TrackedProjection, ProjectionRunner] = {}
        # Lets one look at a time.
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._own_app: Application[Any] | None = None
        self._head: Head | None = None
        self._looked_at: object = None
        self._due = self._failing_since = 0.0
        self._unknown_since: datetime | None = None
        self._thread = threading.Thread(
            target=self._run,
            name=f"lag-{self._registrations[0].application_name}",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to look; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for a look that is under way."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(2 * _LOOK_LIMIT_SECONDS)

    @contextmanager
    def following(
        self, registration: Registration, runner: ProjectionRunner
    ) -> Iterator[None]:
        """
        Know what a runner knows while the block runs.

        If that ends without an error, the projection is looked at a last time.
        """
        tracked = registration.tracked()
        with self._lock:
            self._runners[tracked] = runner
        try:
            yield
            self._look_a_last_time(tracked, runner)
        finally:
            with self._lock:
                self._runners.pop(tracked, None)

    def look(self) -> None:
        """Look once; blocks for a few seconds at most, and raises nothing."""
        with self._looking:
            try:
                with store_deadline(_LOOK_LIMIT_SECONDS):
                    self._look()
            except DatabaseError as error:
                logger.debug("Lag cannot be written: error=%s", one_line(error))
                self._due = 0.0
            except Exception as error:
                self._failed(error)
            else:
                self._failing_since, self._unknown_since = 0.0, None

    def _run(self) -> None:
        keeper = ConnectionKeeper()
        try:
            while not self._stopping.wait(LOOK_SECONDS):
                keeper.begin_work()
                self._limit_lock_waits()
                self.look()
                keeper.end_work(LOOK_SECONDS)
        finally:
            connections.close_all()
            self._close_own_app()

    def _limit_lock_waits(self) -> None:
        for alias in {tracked.using for tracked in self._measuring.tracked}:
            with suppress(DatabaseError):
                limit_lock_waits(connections[alias], _LOOK_LIMIT_SECONDS)

    def _look(self) -> None:
        runners = self._running()
        app = self._app(runners)
        head = find_head(app, self._head)
        self._head = head
        # Without a change the database is not asked, but now and then.
        seen = [
            head,
            self._unknown_since,
            [(each.known_total, each.progress.pace()) for each in runners.values()],
        ]
        if seen == self._looked_at and monotonic() < self._due:
            return
        self._measuring.ensure_rows()
        self._measuring.measure(app, head, runners, self._measuring.tracked)
        self._looked_at, self._due = seen, monotonic() + REFRESH_SECONDS

    def _look_a_last_time(
        self, tracked: TrackedProjection, runner: ProjectionRunner
    ) -> None:
        if not self._looking.acquire(timeout=_LAST_LOOK_SECONDS):
            return
        try:
            with store_deadline(_LAST_LOOK_SECONDS):
                head = find_head(runner.app, self._head)
                self._measuring.measure(runner.app, head, {tracked: runner}, [tracked])
        except Exception as error:
            # What was measured before stands, and says when.
            logger.debug("The last lag is not known: error=%s", one_line(error))
        finally:
            self._looking.release()

    def _failed(self, error: Exception) -> None:
        """Write down that the store cannot be asked, if that lasts."""
        logger.debug("Lag cannot be measured: error=%s", one_line(error))
        now = monotonic()
        self._failing_since = self._failing_since or now
        if self._unknown_since is None:
            if now - self._failing_since < _AWAY_SECONDS:
                return
            self._unknown_since = timezone.now()
        with suppress(DatabaseError):
            self._measuring.ensure_rows()
            self._measuring.note_unknown(self._unknown_since, self._running())

    def _running(self) -> dict[TrackedProjection, ProjectionRunner]:
        with self._lock:
            return dict(self._runners)

    def _app(
        self, runners: dict[TrackedProjection, ProjectionRunner]
    ) -> Application[Any]:
        """Return an application to ask, one that runs if there is one."""
        for runner in runners.values():
            self._close_own_app()
            app: Application[Any] = runner.app
            return app
        if self._own_app is None:
            registration = self._registrations[0]
            self._own_app = make_application(
                registration.application_class, registration.env()
            )
        return self._own_app

    def _close_own_app(self) -> None:
        app, self._own_app = self._own_app, None
        if app is not None:
            with suppress(Exception):
                app.close()


def watches(
    registrations: Iterable[Registration], others: Iterable[Registration]
) -> dict[type[Any], LagWatch]:
    """
    Return a watch for each application that projections are run of.

    Args:
        registrations: The projections to run.
        others: All that there are; those of the same applications are looked at, too.
    """
    registrations = list(registrations)
    known = {each.name: each for each in [*others, *registrations] if _is_usable(each)}
    found: dict[type[Any], list[Registration]] = {}
    for each in known.values():
        found.setdefault(each.application_class, []).append(each)
    classes = {each.application_class for each in registrations}
    return {cls: LagWatch(each) for cls, each in found.items() if cls in classes}


def _is_usable(registration: Registration) -> bool:
    try:
        registration.tracked()
    except ViewDatabaseError:
        # A check's to report.
        return False
    return True
