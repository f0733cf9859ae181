from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.deployments.sites import python_module, serving
from tests.support.patience import wait_until
from tests.support.projects import Project

COMMAND = (
    *python_module("celery"),
    *("--app", "tests.support.deployments.tasks", "worker"),
    *("--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)

DOGS = [f"dog {number}" for number in range(5)]

SEND = f"""
from tests.support.deployments.tasks import FOLDER, register
for name in {DOGS!r}:
    register.delay(name)
for message in (FOLDER / "sent").iterdir():
    message.rename(FOLDER / "queue" / message.name)
"""


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def children_of(process_id: int) -> set[int]:
    return {each.pid for each in psutil.Process(process_id).children()}


@pytest.mark.slow("starts a worker of several processes and waits for their end")
@pytest.mark.parametrize(
    "tasks",
    [1, pytest.param(100, marks=pytest.mark.any_database)],
    ids="{}-tasks-per-child".format,
)
def test_each_child_saves_and_reads_also_those_that_take_anothers_place(
    projected: Project, tmp_path: Path, tasks: int
) -> None:
    for folder in ("queue", "sent"):
        (tmp_path / folder).mkdir()
    projected.env["CELERY_FOLDER"] = str(tmp_path)
    with serving(projected, *COMMAND, "--max-tasks-per-child", str(tasks)) as worker:
        worker.wait_for("ready.")
        projected.python(SEND)
        wait_until(lambda: len(notes(tmp_path)) == len(DOGS), str(worker.lines))
        found = notes(tmp_path)
        # A child that takes another's place just when billiard's pool is closed is
        # told of no end, and waited for for ever.
        ended = {note["process"] for note in found} if tasks == 1 else set()
        wait_until(
            lambda: len(children_of(worker.process.pid) - ended) == 2, str(worker.lines)
        )
        status = worker.end()

    assert {note["name"] for note in found} == set(DOGS)
    assert {note["loaded_in"] for note in found} == {worker.process.pid}
    children = {note["process"] for note in found}
    assert worker.process.pid not in children
    assert len(children) == len(DOGS) if tasks == 1 else len(children) <= 2
    assert status == 0
