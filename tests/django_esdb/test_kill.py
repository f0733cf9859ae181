"""Nothing is lost and nothing done twice when a runner is killed."""

from __future__ import annotations

import json
import random
import threading
import time

from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.projects import Project

ROWS = """
import json
from example_project.training_school.models import Dog, SchoolCounts
print(json.dumps([
    {dog.name: dog.tricks for dog in Dog.objects.all()},
    list(SchoolCounts.objects.values_list("dogs", "tricks")),
]))
"""

KILLS = 8


def test_killed_at_random_moments_while_events_stream_in(
    project: Project, server: EmbeddedServer
) -> None:
    school = TrainingSchool(
        {
            "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
            "EVENTSTOREDB_URI": server.uri,
        }
    )
    stopping = threading.Event()
    tricks: dict[str, list[str]] = {}

    def write() -> None:
        while not stopping.is_set():
            name = f"dog {len(tricks)}"
            school.register(name)
            tricks[name] = []
            for number in range(3):
                school.add_trick(name, f"trick {number}")
                tricks[name].append(f"trick {number}")

    writer = threading.Thread(target=write)
    writer.start()
    choose = random.Random(4)
    try:
        for _ in range(KILLS):
            with project.running("runprojections") as process:
                assert process.stdout is not None
                # Killed from just before it begins to well into its work.
                if choose.random() < 0.8:
                    assert process.stdout.readline().startswith("Running")
                time.sleep(choose.uniform(0, 0.4))
                process.kill()
                assert process.wait(timeout=10) == -9
    finally:
        stopping.set()
        writer.join()
        school.close()

    project.manage("runprojections", "--until-caught-up", timeout=300)

    dogs, counts = json.loads(project.python(ROWS))
    assert dogs == tricks
    assert counts == [[len(tricks), sum(len(known) for known in tricks.values())]]
