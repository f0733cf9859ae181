"""What ``manage.py runprojections`` does, as a process."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.projects import Project, move_to_reports

SECRET = "s3cret-w0rd"
SIGNALS = [
    signal.SIGTERM,
    pytest.param(signal.SIGINT, marks=pytest.mark.any_database),
    pytest.param(signal.SIGHUP, marks=pytest.mark.any_database),
]

REGISTER = """
from django_esdb import get_application
from example_project.training_school.application import TrainingSchool
school = get_application(TrainingSchool)
"""
COUNT = """
from django_esdb.models import ProjectionTracking
from example_project.training_school.models import Dog, SchoolCounts
print(Dog.objects.count(), list(SchoolCounts.objects.values_list("dogs", "tricks")),
      list(ProjectionTracking.objects.values_list("processed", flat=True)))
"""


def refused(
    project: Project, *arguments: str, says: str, status: int = 2
) -> subprocess.CompletedProcess[str]:
    """Run the command and see that it says in a line why it does not run."""
    result = project.manage("runprojections", *arguments, check=False)
    error = result.stderr.strip()
    assert result.returncode == status, result.stdout + result.stderr
    assert says in error
    assert error.count("\n") == 0, error
    assert "Traceback" not in error
    assert SECRET not in result.stdout + result.stderr
    return result


def test_runs_from_an_event_to_a_row(project: Project) -> None:
    project.python(REGISTER + "school.register('Fido'); school.add_trick('Fido', 'x')")

    result = project.manage("runprojections", "--until-caught-up")

    first, *progress, last = result.stdout.splitlines()
    assert first == (
        "Running TrainingSchoolProjection on TrainingSchool from the beginning"
    )
    # Where it takes its time.
    assert all(line.startswith("Catching up: ") for line in progress)
    assert last == "All caught up"
    assert project.python(COUNT) == "1 [(1, 1)] [2]\n"
    project.manage("runprojections", "TrainingSchoolProjection", "--until-caught-up")
    assert project.python(COUNT) == "1 [(1, 1)] [2]\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_shuts_down_cleanly_on_a_signal(
    project: Project, number: signal.Signals
) -> None:
    with project.running("runprojections") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Running")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "Stopped\n", "")


@pytest.mark.any_database
def test_shows_projections(project: Project) -> None:
    project.python(REGISTER + "school.register('Fido')")
    project.manage("runprojections", "--until-caught-up")

    [shown] = json.loads(project.manage("showprojections", "--json").stdout)
    table = project.manage("showprojections").stdout.splitlines()

    assert shown["name"] == "TrainingSchoolProjection"
    assert shown["application"] == "TrainingSchool"
    assert shown["database"] == "default"
    assert shown["position"] > 0
    assert "example_project.training_school.domain:Dog.Registered" in shown["topics"]
    assert shown["head"] >= shown["position"]
    assert (shown["behind_events"], shown["behind_seconds"]) == (0, 0.0)
    assert len(table) == 3
    assert f"position {shown['position']}," in table[2]


@pytest.mark.any_database
def test_a_watch_is_ended_by_ctrl_c(project: Project) -> None:
    with project.running("showprojections", "--watch", "--json") as process:
        assert process.stdout is not None
        for _ in range(2):
            [shown] = json.loads(process.stdout.readline())
            assert shown["state"] == "stopped"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in out


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("uri", "says", "status"),
    [
        ("", "ESDB_URI", 2),
        (f"esdb://admin:{SECRET}@127.0.0.1:9?Tls=false", "127.0.0.1:9", 1),
    ],
    ids=["missing", "unreachable"],
)
def test_bad_address_is_refused(
    project: Project, uri: str, says: str, status: int
) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["EVENTSTOREDB_URI"] = uri

    refused(project, "--wait=0", says=says, status=status)

    assert project.position() is None


@pytest.mark.any_database
def test_missing_certificate_is_refused(project: Project, tmp_path: Path) -> None:
    project.env["EVENTSTOREDB_URI"] = f"esdb://admin:{SECRET}@localhost:2113"
    project.env["EVENTSTOREDB_ROOT_CERTIFICATES"] = str(tmp_path / "ca.pem")

    refused(project, says="ca.pem': No such file or directory")


@pytest.mark.own_store("it must speak no TLS")
@pytest.mark.any_database
def test_certificate_is_not_looked_at_without_tls(project: Project) -> None:
    project.env["EVENTSTOREDB_ROOT_CERTIFICATES"] = "<certificates>"

    project.manage("runprojections", "--until-caught-up")


@pytest.mark.any_database
def test_unknown_name_is_refused_and_known_ones_listed(project: Project) -> None:
    refused(project, "Unknown", says="'Unknown' is registered; registered: Training")


@pytest.mark.any_database
@pytest.mark.parametrize(
    "command", ["runprojections", "showprojections", "resetprojection"]
)
def test_the_name_of_a_build_is_refused_with_that_of_its_projection(
    project: Project, command: str
) -> None:
    name = "TrainingSchoolProjection"

    result = project.manage(command, f"{name}__beside", check=False)

    assert result.returncode == 2
    assert (
        f": it is what rebuildprojection {name} --beside builds, so name {name}; "
    ) in result.stderr


@pytest.mark.any_database
def test_no_registered_projection_is_refused(project: Project) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["TEST_PLAIN"] = "yes"

    refused(project, says="No projection is registered: write a projections.py")


@pytest.mark.any_database
def test_unapplied_migrations_are_refused(project: Project) -> None:
    project.manage("migrate", "django_esdb", "zero", "--verbosity", "0")

    result = refused(project, says="django_esdb.0001_initial")
    assert "manage.py migrate" in result.stderr
    probe = project.manage("projectionhealth", check=False)
    assert probe.returncode == 2
    assert "run manage.py migrate" in probe.stderr
    assert len(probe.stderr.splitlines()) == 1


@pytest.mark.any_database
@pytest.mark.parametrize(
    "command", ["runprojections", "projectionhealth", "showprojections"]
)
def test_a_database_in_memory_is_called_so(project: Project, command: str) -> None:
    project.env["DATABASE_URL"] = "sqlite://:memory:"

    result = project.manage(command, check=False)

    assert result.returncode == 2
    assert "is SQLite in memory, where each process has one of its own" in result.stderr


@pytest.mark.any_database
def test_name_registered_twice_is_refused(project: Project) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["TEST_APPS"] = "twice"

    refused(project, says="'TrainingSchoolProjection' of tests.support.apps.twice")
    check = project.manage("check", check=False)
    assert check.returncode == 1
    assert "(django_esdb.E005)" in check.stderr


@pytest.fixture
def two_databases(project: Project, tmp_path: Path) -> Project:
    move_to_reports(project, tmp_path)
    project.python(REGISTER + "school.register('Fido')")
    return project


@pytest.mark.any_database
def test_position_is_kept_where_the_read_models_are(two_databases: Project) -> None:
    two_databases.manage("runprojections", "--until-caught-up")

    [shown] = json.loads(two_databases.manage("showprojections", "--json").stdout)
    assert shown["database"] == "reports"
    assert shown["position"] > 0
    assert two_databases.python(COUNT).startswith("1 ")


@pytest.mark.any_database
def test_view_in_another_database_than_its_models_is_refused(
    two_databases: Project,
) -> None:
    two_databases.env["TEST_APPS"] = "misplaced"

    refused(
        two_databases,
        "MisplacedProjection",
        says="set using = 'reports' on MisplacedView",
    )
    assert two_databases.python(COUNT) == "0 [] []\n"


@pytest.mark.any_database
def test_view_that_writes_elsewhere_is_stopped_before_it_does(
    two_databases: Project,
) -> None:
    two_databases.env["TEST_APPS"] = "undeclared"

    refused(
        two_databases,
        "UndeclaredProjection",
        "--until-caught-up",
        says="set using = 'reports' on UndeclaredView",
        status=1,
    )
    assert two_databases.python(COUNT) == "0 [] [0]\n"


CALL_BACK = """
from django.contrib.auth.models import Group
from django.core.management import call_command
from example_project.training_school.projections import TrainingSchoolView

register_dog = TrainingSchoolView.register_dog

def hooked(self, dog_id, name, tracking):
    register_dog(self, dog_id, name, tracking)
    self.on_live(lambda: Group.objects.create(name=name))

TrainingSchoolView.register_dog = hooked
call_command("runprojections", until_caught_up=True, verbosity=0)
print(*Group.objects.values_list("name", flat=True))
"""


@pytest.mark.any_database
def test_a_callback_may_write_to_another_database_than_the_views(
    two_databases: Project,
) -> None:
    assert two_databases.python(CALL_BACK).splitlines()[-1] == "Fido"
