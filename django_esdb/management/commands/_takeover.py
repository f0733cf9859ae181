"""Running a projection that is taken from its owner, up to a goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error as DatabaseError

from django_esdb.exceptions import DjangoEsdbError, ProjectionError
from django_esdb.leases.lease import Lease
from django_esdb.management.commands._projection_progress import projections_shown
from django_esdb.management.progress import Shown
from django_esdb.registry import Registration
from django_esdb.runner.term import Goal
from django_esdb.runner.worker import Options, Worker


@dataclass
class Run:
    """
    How a projection has run.

    Attributes:
        refused: Why it could not be taken, if that is what has ended it.
        error: Why it has failed, if it has.
        was_stopped: Whether it was to end before the goal.
    """

    refused: Exception | None = None
    error: ProjectionError | None = None
    was_stopped: bool = False


def run_taken(
    registration: Registration,
    shown: Shown,
    verb: str,
    take_over: Callable[[str, Goal], Lease],
    *,
    batch_size: int | None,
    shutdown_timeout: float,
    exclusive: bool = False,
) -> Run:
    """
    Take a projection, and run it until it is at its goal; blocks.

    Args:
        registration: The projection.
        shown: Where it is told how far it is.
        verb: What is done, for that.
        take_over: Takes it, as whom, and says what the goal is.
        batch_size: Most events in a transaction; None for the setting's.
        shutdown_timeout: Seconds that stopping may take.
        exclusive: Fail where another process takes it meanwhile, instead of waiting.
    """
    run = Run()
    goal = Goal()

    def taken(owner: str) -> Lease:
        run.refused = None
        try:
            return take_over(owner, goal)
        except (DjangoEsdbError, DatabaseError) as error:
            run.refused = error
            raise

    worker = Worker(
        [registration],
        Options(
            until_caught_up=True,
            exclusive=exclusive,
            batch_size=batch_size,
            shutdown_timeout=shutdown_timeout,
            take_over=taken,
            goal=goal,
        ),
    )
    with projections_shown(shown, verb, [registration]):
        errors = worker.run()
    run.error = errors[0] if errors else None
    run.was_stopped = worker.was_stopped
    return run
