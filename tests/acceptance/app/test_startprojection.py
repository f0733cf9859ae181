"""What startprojection writes works as it is, and it never touches anybody's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.domain import Aggregate

from tests.acceptance.test_testing_docs import FILE_DATABASE, blocks
from tests.support.projects import ROOT, clean_environment

DOG = "example_project.training_school.domain:Dog"

ALONE = f"{__name__}:Puppy"

# Aggregates of other kinds than the README's.
KENNELS = """
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Optional
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


@dataclass
class Address:
    street: str


class Kennel(Aggregate):
    INITIAL_VERSION = 0

    class Built(Aggregate.Created):
        name: str
        places: int
        owner: Optional[UUID]
        opened: datetime
        price: Decimal
        delete: str

    class Inherited(Aggregate.Created):
        name: str
        heir: str

    class HTTPAnswered(Aggregate.Event):
        name: int

    class Import(Aggregate.Event):
        address: Address

    @event("Renamed")
    def rename(self, name: str, places: Optional[int] = None):
        pass


class Odd(Aggregate):
    INITIAL_VERSION = 0

    class Begun(Aggregate.Created):
        address: Address

    class Ended(Aggregate.Event):
        pass


class Kennels(Application):
    pass
"""


# Text that not every database stores, also where a field may be empty.
ODD_TEXTS = """
from uuid import uuid4

from django.test import TestCase
from django_esdb.testing import EventFactory, project
from kennels.domain import Kennel
from kennels.projections import KennelProjection
from school.domain import Dog
from school.projections import DogList


class OddTextsTests(TestCase):
    def test_odd_texts(self):
        view = project(DogList, [Dog("Fi\\0do")])
        self.assertEqual(view.read_models[0].objects.get().name, "Fi\\ufffddo")

        events = [
            EventFactory(Kennel, id=uuid4()).Inherited(name="K", heir="He\\0ir"),
            EventFactory(Kennel, id=uuid4()).Built(),
        ]
        view = project(KennelProjection, events)
        heirs = [row.heir for row in view.read_models[0].objects.order_by("heir")]
        self.assertEqual(heirs, [None, "He\\ufffdir"])
"""


class Puppy(Aggregate):
    """Its events are not recorded."""


class Site:
    """A new project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("-m", "django", "startproject", "mysite", ".")
        for app in ("school", "kennels", "odd"):
            self.run("manage.py", "startapp", app)
        files = dict(blocks("README.md"))
        (folder / "school" / "domain.py").write_text(files["school/domain.py"])
        (folder / "kennels" / "domain.py").write_text(KENNELS)
        with (folder / "mysite" / "settings.py").open("a") as settings:
            settings.write(
                'INSTALLED_APPS += ["django_esdb", "school", "kennels", "odd"]\n'
                + FILE_DATABASE
            )

    def run(self, *arguments: str, status: int = 0) -> str:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**clean_environment(), "PYTHONPATH": f"{ROOT}:."},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout + result.stderr

    def start(self, *arguments: str, status: int = 0) -> str:
        return self.run("manage.py", "startprojection", *arguments, status=status)

    def texts(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*.py")}


@pytest.mark.slow("makes a project, and runs its tests")
def test_what_is_written_works_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path)
    before = site.texts()

    shown = site.start("DogList", "--aggregate", "school.domain:Dog", "--dry-run")
    assert "class DogList(Projection[DogListView]):" in shown
    assert site.texts() == before

    written = site.start("DogList", "--aggregate", "school.domain:Dog")
    assert written.splitlines() == [
        "wrote school/models.py",
        "wrote school/projections.py",
        "wrote school/admin.py",
        "wrote school/test_dog_list.py",
        "Now run: manage.py makemigrations school, migrate and test school",
    ]
    kennels = "kennels.domain:Kennel"
    site.start("KennelProjection", "--aggregate", kennels)
    site.start("Odds", "--aggregate", "kennels.domain:Odd", "--app", "odd")

    # What startapp has written is still there.
    assert "# Create your models here." in (tmp_path / "school/models.py").read_text()
    site.run("manage.py", "makemigrations", "school", "kennels", "odd")
    site.run("manage.py", "check")
    (tmp_path / "school" / "testing_odd_texts.py").write_text(ODD_TEXTS)
    output = site.run("manage.py", "test", "--verbosity", "2")
    for method in (
        "odd_texts",
        "each_event_has_a_handler",
        "on_registered",
        "on_trick_added",
        "on_built",
        "on_inherited",
        "on_renamed",
        "on_httpanswered",
    ):
        assert f"test_{method} " in output
    site.run("-m", "pytest", "-q", "--ds", "mysite.settings", "-n", "0")
    odd = (tmp_path / "odd" / "test_odds.py").read_text()
    assert "# Not tried, Begun: TranscodingNotRegisteredError: " in odd
    modules = [
        str(path)
        for path in tmp_path.rglob("*.py")
        if path.name.startswith(("models", "projections", "test_"))
    ]
    site.run("-m", "ruff", "check", "--isolated", *modules)
    site.run("-m", "ruff", "format", "--check", "--isolated", *modules)

    # Again it is the user's own code.
    before = site.texts()
    refused = site.start("Others", "--aggregate", "school.domain:Dog", status=1)
    assert refused.startswith("CommandError: nothing was written: ")
    assert "school/models.py has code in it already" in refused
    assert len(refused.splitlines()) == 1
    assert site.texts() == before
    listed = site.start("DogList", "--aggregate", "school.domain:Dog", status=2)
    assert listed == (
        "CommandError: a projection DogList is registered already: choose another "
        "name\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dogs", "--aggregate", DOG], "'dogs' is no name of a class"),
        (["a b", "--aggregate", DOG], "'a b' is no name of a class"),
        (["Dog", "--aggregate", DOG], "Dog would clash with Dog"),
        (["Projection", "--aggregate", DOG], "Projection would clash with Projection"),
        (["TrainingSchool", "--aggregate", DOG], "would clash with TrainingSchool"),
        (
            ["TRAININGSCHOOLPROJECTION", "--aggregate", DOG],
            "TrainingSchoolProjection is registered already",
        ),
        (["Dogs", "--aggregate", "Dog"], "'Dog' is no topic such as school.domain:Dog"),
        (["Dogs", "--aggregate", "nowhere:Dog"], "'nowhere:Dog' cannot be found: "),
        (["Dogs", "--aggregate", f"{DOG}.Registered"], "is not the class of an aggreg"),
        (
            ["Dogs", "--aggregate", "eventsourcing.domain:Aggregate"],
            "no installed app has eventsourcing.domain in it: say --app",
        ),
        (["Dogs", "--aggregate", DOG, "--app", "x"], "'x' is not in INSTALLED_APPS"),
        (
            ["Dogs", "--aggregate", DOG, "--application", DOG],
            "is not the class of an application",
        ),
        (
            ["Dogs", "--aggregate", ALONE, "--app", "rows_app"],
            "there is none next to .*: say --application",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as raised:
        call_command("startprojection", *arguments)

    assert "\n" not in str(raised.value)


def test_code_that_is_there_is_left_alone() -> None:
    app = ROOT / "example_project" / "training_school"
    before = {path: path.read_bytes() for path in app.rglob("*.py")}

    with pytest.raises(CommandError, match=r"models\.py has code in it already"):
        call_command("startprojection", "Dogs", "--aggregate", DOG)

    assert {path: path.read_bytes() for path in app.rglob("*.py")} == before
