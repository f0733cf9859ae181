"""Projections that run as they do in production, while a test does something."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import connections
from eventsourcing.projection import Projection

from django_esdb.exceptions import WaitInTransactionError
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from django_esdb.runner.supervisor import Supervisor


class _Running:
    """A projection in a thread, and what has ended it before it was stopped."""

    def __init__(self, registration: Registration) -> None:
        self.error: BaseException | None = None
        # In a test what fails is to fail at once.
        loud = replace(registration, on_failure=OnFailure.STOP, retries=0)
        self._supervisor = Supervisor(loud, fail_fast=True)
        self._thread = threading.Thread(target=self._run, name=registration.name)
        self._thread.start()

    def stop(self) -> None:
        self._supervisor.stop()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except BaseException as error:
            self.error = error


@contextmanager
def running_projections(*projections: type[Projection[Any]] | str) -> Iterator[None]:
    """
    Run projections in threads, as ``runprojections`` does, until the block ends.

    They see what is committed alone: the test is a ``TransactionTestCase``, or has
    ``django_db(transaction=True)``. What a page waits for with ``view.wait`` or
    :func:`~django_esdb.wait_for` comes. At the block's end each finishes the batch that
    it is at; it does not catch up.

    Args:
        projections: Registered ones, or their names; all if there is none.

    Raises:
        NotRegisteredError: There is no such projection.
        WaitInTransactionError: The test is within a transaction.
        ProjectionError: A projection has failed: at once, and also at an event that
            it would put aside in production. It is raised at the block's end. If the
            block itself fails, a note with its error says so.
    """
    names = [each if isinstance(each, str) else each.name for each in projections]
    chosen = [registry.get(name) for name in names] or list(registry)
    for registration in chosen:
        _refuse_transaction(registration)
    running = [_Running(registration) for registration in chosen]
    try:
        yield
    except BaseException as error:
        for failure in _ended(running):
            error.add_note(f"Meanwhile: {failure}")
        raise
    for failure in _ended(running):
        raise failure


def _refuse_transaction(registration: Registration) -> None:
    alias = registration.tracked().using
    if connections[alias].in_atomic_block:
        msg = (
            f"Projection {registration.name!r} would run in a thread, and see nothing "
            f"of the transaction that the test is in on database {alias!r}: use "
            "TransactionTestCase or django_db(transaction=True), or project(), which "
            "runs it in the transaction"
        )
        raise WaitInTransactionError(msg)


def _ended(running: list[_Running]) -> list[BaseException]:
    """Stop all, and return what those have met that were at their end before."""
    for each in running:
        each.stop()
    for each in running:
        each.join()
    return [each.error for each in running if each.error is not None]
