"""
Lets tests say what happens within a handler of another process.

The trick's name says what: ``wait`` until the file ``go`` is there, ``crash`` the
process, ``fail`` (or ``hang``, with ``FAULTS_HANG``), ``hang`` until ``go`` is there,
too, ``stall`` all threads, ``fork``, or ``exit`` from a child. Files are
in the directory ``FAULTS_DIRECTORY``.

When a projection has been told to stop, the file ``stopping-`` and the process's ID
is there.

``FAULTS_KILL_AT`` names a function, as ``module:function:number``: the process is
killed when it is called for the time of this number.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db import transaction


class FaultInjectionConfig(AppConfig):
    name = "tests.support.fault_injection"

    def ready(self) -> None:
        from django_esdb.policies import OnFailure
        from django_esdb.registry import registry
        from django_esdb.runner.interrupts import Interrupts
        from example_project.training_school import projections

        add_trick = projections.TrainingSchoolView.add_trick

        def hooked(self: Any, dog_id: Any, trick: str, tracking: Any) -> None:
            add_trick(self, dog_id, trick, tracking)
            _act(trick.partition(" ")[0])

        projections.TrainingSchoolView.add_trick = hooked  # type: ignore[method-assign]
        stop = Interrupts.stop

        def stopped(self: Interrupts) -> None:
            stop(self)
            _note("stopping")

        Interrupts.stop = stopped  # type: ignore[method-assign]
        if policy := os.environ.get("FAULTS_ON_FAILURE"):
            name = projections.TrainingSchoolProjection.name
            registry._registry[name] = dataclasses.replace(
                registry.get(name), on_failure=OnFailure(policy)
            )
        if module := os.environ.get("FAULTS_IMPORT"):
            importlib.import_module(module)
        if place := os.environ.get("FAULTS_KILL_AT"):
            _kill_at(*place.split(":"))


def _kill_at(module_name: str, name: str, number: str) -> None:
    module = importlib.import_module(module_name)
    function, left = getattr(module, name), [int(number)]

    def counted(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(module, name, counted)


def _note(what: str) -> None:
    # Whether there is one is known later than what is set up once for many.
    if directory := os.environ.get("FAULTS_DIRECTORY"):
        (Path(directory) / f"{what}-{os.getpid()}").touch()


def _fork(status: Path, *, exits: bool) -> None:
    """Have a child come back from the handler, and write down how it ended."""
    child = os.fork()
    if child:
        ended = os.waitpid(child, 0)[1]
        status.write_text(str(os.waitstatus_to_exitcode(ended)))
        return
    with suppress(Exception), transaction.atomic():
        # What goes back to a savepoint, on the parent's connection if it could.
        raise RuntimeError
    if exits:
        sys.exit(7)


def _act(trick: str) -> None:
    directory = Path(os.environ["FAULTS_DIRECTORY"])
    if trick == "fail" and os.environ.get("FAULTS_HANG"):
        trick = "hang"
    if trick == "wait":
        _note("waiting")
        while not (directory / "go").exists():
            time.sleep(0.01)
    elif trick == "hang":
        while not (directory / "go").exists():
            time.sleep(0.01)
    elif trick in ("fork", "exit"):
        _fork(directory / trick, exits=trick == "exit")
    elif trick == "stall":
        re.match("(a+)+$", "a" * 64 + "b")
    elif trick == "crash" and not (directory / "go").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    elif trick == "fail" and not (directory / "go").exists():
        msg = "as the test says"
        raise RuntimeError(msg)
