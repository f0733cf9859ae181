"""What is done to a run at random moments."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from tests.support.databases import connected
from tests.support.event_stores import EventStore
from tests.support.projects import Project
from tests.support.stress.pool import Pool
from tests.support.stress.snapshots import Database
from tests.support.workers import suspend_outside_of_transaction

_LONGEST_OUTAGE_SECONDS = 1.0
# Longer than the SQLite projections wait for it, and than a lease lasts.
_LONGEST_LOCK_SECONDS = 2.5
# Longer than a lease, by which another process has taken over if it could.
_SUSPENDED_LEASES = 4


@dataclass
class Scene:
    """
    What disturbances are done to.

    Attributes:
        lease_seconds: How long a lease lasts.
        choose: What decides.
        pause: Waits so many seconds, in which all else continues.
        survived: What is counted.
    """

    store: EventStore
    database: Database
    project: Project
    pool: Pool
    lease_seconds: float
    choose: random.Random
    pause: Callable[[float], None]
    survived: Counter[str]


def kill_a_worker(scene: Scene) -> None:
    worker = scene.pool.any_of(scene.database.tracked(), scene.choose)
    if worker is not None:
        scene.pool.kill(worker)
        scene.survived["kill -9 of a worker"] += 1


def kill_all_workers(scene: Scene) -> None:
    for worker in list(scene.pool.workers):
        scene.pool.kill(worker)
    scene.survived["kill -9 of all workers"] += 1


def kill_the_event_store(scene: Scene) -> None:
    scene.store.kill()
    scene.survived["kill -9 of the event store"] += 1
    scene.pause(scene.choose.uniform(0, _LONGEST_OUTAGE_SECONDS))
    scene.store.start()


def end_connections(scene: Scene) -> None:
    """End the workers' connections, on SQLite hold the lock that they need."""
    if scene.database.kind != "sqlite":
        ended = scene.database.end_connections(scene.choose)
        scene.survived["connections ended by the database"] += ended
        return
    with (
        connected(scene.database.url) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute("BEGIN IMMEDIATE")
        scene.survived["write locks held by another process"] += 1
        scene.pause(scene.choose.uniform(0.1, _LONGEST_LOCK_SECONDS))
        cursor.execute("ROLLBACK")


def suspend_an_owner(scene: Scene) -> None:
    """Suspend the owner of a projection until another has taken over, and resume it."""
    tracked = scene.database.tracked()
    name = scene.choose.choice(sorted(tracked))
    owner = scene.pool.owner_of(tracked[name])
    if owner is None:
        return
    suspend_outside_of_transaction(scene.project, owner)
    scene.survived["suspensions of an owner"] += 1
    try:
        end = time.monotonic() + _SUSPENDED_LEASES * scene.lease_seconds
        while time.monotonic() < end:
            scene.pause(0.05)
            if scene.database.tracked()[name].token > tracked[name].token:
                scene.survived["takeovers from a suspended owner"] += 1
                # What it was at is over; let the next one get on with it.
                scene.pause(scene.choose.uniform(0, 0.5))
                return
    finally:
        owner.resume()


Disturbance = Callable[[Scene], None]

KINDS: tuple[Disturbance, ...] = (
    kill_a_worker,
    kill_a_worker,
    kill_all_workers,
    kill_the_event_store,
    end_connections,
    end_connections,
    suspend_an_owner,
)


def in_random_order(choose: random.Random) -> Iterator[Disturbance]:
    """Yield disturbances for ever; each kind comes up in each round."""
    while True:
        yield from choose.sample(KINDS, len(KINDS))
