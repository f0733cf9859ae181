"""A Celery application whose parent process uses the event store before it forks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import celery
import django

django.setup()

from django_esdb import get_application  # noqa: E402
from example_project.training_school.application import TrainingSchool  # noqa: E402
from example_project.training_school.domain import Dog  # noqa: E402
from example_project.training_school.models import Dog as DogRow  # noqa: E402
from example_project.training_school.projections import (  # noqa: E402
    TrainingSchoolProjection,
    TrainingSchoolView,
)

FOLDER = Path(os.environ["CELERY_FOLDER"])

app = celery.Celery(
    "school",
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": str(FOLDER / "queue"),
        # Messages are moved from there when they are whole: the worker takes any.
        "data_folder_out": str(FOLDER / "sent"),
        "control_folder": str(FOLDER / "queue"),
        "polling_interval": 0.1,
    },
    worker_hijack_root_logger=False,
)

_loaded_in = os.getpid()
get_application(TrainingSchool).recorder.max_notification_id()


@app.task  # type: ignore[untyped-decorator]
def register(name: str) -> None:
    """Register a dog, wait until it can be read, and note what happened."""
    position = get_application(TrainingSchool).register(name)
    view = TrainingSchoolView(name=TrainingSchoolProjection.name)
    view.wait(TrainingSchool.name, position, timeout=30)
    found = DogRow.objects.get(id=Dog.create_id(name)).name
    note = {"name": found, "process": os.getpid(), "loaded_in": _loaded_in}
    # A reader must not find half of it.
    half = FOLDER / f"{name}.half"
    half.write_text(json.dumps(note))
    half.rename(FOLDER / f"{name}.json")
