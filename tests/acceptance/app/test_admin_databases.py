"""The admin's actions on projections in several databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.failed_events import (
    TRACKING,
)
from tests.support.projects import Project, move_to_reports


@pytest.mark.any_database
def test_actions_are_about_the_database_that_is_shown(
    project: Project, tmp_path: Path
) -> None:
    # Left over from when the read models were there.
    project.python(
        "from django_esdb.models import ProjectionTracking as T\n"
        "T.objects.create(projection='TrainingSchoolProjection', position=5,\n"
        "                 application='TrainingSchool', state='paused')\n"
    )
    move_to_reports(project, tmp_path)

    printed = project.python(
        "from django.contrib.auth.models import User\n"
        "from django.test import Client\n"
        "from django_esdb.models import ProjectionTracking as T\n"
        "T.objects.using('reports').create(projection='TrainingSchoolProjection',\n"
        "    position=7, application='TrainingSchool', state='paused')\n"
        "client = Client(headers={'host': 'localhost'})\n"
        "client.force_login(User.objects.create_superuser('admin'))\n"
        f"path = {TRACKING!r}\n"
        "page = client.get(path).content.decode()\n"
        "print('>5<' in page, '>7<' in page)\n"
        "page = client.post(path, {'action': 'retry', '_selected_action':\n"
        "    [T.objects.get().pk]}, follow=True).content.decode()\n"
        "print('it is not registered for TrainingSchool and this database' in page)\n"
        "print(T.objects.using('reports').get().state)\n"
    )

    assert printed.splitlines() == ["True False", "True", "paused"]
