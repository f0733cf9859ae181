"""What ``manage.py debugprojection`` shows of an aggregate's events."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_esdb.applications.shared import close_applications
from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import SECRET, PickyProjection
from tests.support.supervising import catch_up

pytestmark = pytest.mark.django_db(transaction=True)

NAME = TrainingSchoolProjection.name
FIDO = str(DogAggregate.create_id("Fido"))


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def debug(*arguments: str, out: io.StringIO | None = None) -> tuple[str, str, int]:
    """Run the command; return its output, what it says of errors, and its status."""
    out, err = out or io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command("debugprojection", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
        status = error.returncode
    return out.getvalue(), err.getvalue(), status


def of_fido(*arguments: str, name: str = NAME, **options: Any) -> tuple[str, str, int]:
    return debug(name, "--aggregate", FIDO, *arguments, **options)


def test_json_has_what_each_event_changes(school: TrainingSchool) -> None:
    positions = [school.register("Fido"), school.add_trick("Fido", "sit")]

    out, err, status = of_fido("--json")

    first, second = json.loads(out)
    assert (err, status) == ("", 0)
    assert set(first) == {"position", "topic", "seconds", "error", "changes"}
    assert [first["position"], second["position"]] == positions
    assert first["topic"].endswith(":Dog.Registered")
    assert first["error"] is None
    assert first["seconds"] > 0
    assert second["changes"] == [
        {
            "model": "training_school.Dog",
            "pk": FIDO,
            "before": {"id": FIDO, "name": "Fido", "tricks": []},
            "after": {"id": FIDO, "name": "Fido", "tricks": ["sit"]},
        },
        {
            "model": "training_school.SchoolCounts",
            "pk": 1,
            "before": {"id": 1, "dogs": 1, "tricks": 0},
            "after": {"id": 1, "dogs": 1, "tricks": 1},
        },
    ]
    assert first["changes"][0]["before"] is None
    assert not Dog.objects.exists()
    assert not ProjectionTracking.objects.exists()


@pytest.mark.any_database
def test_lines_say_it_for_people(school: TrainingSchool) -> None:
    school.register("Fido")
    position = school.add_trick("Fido", "sit")

    out, err, status = of_fido()

    lines = out.splitlines()
    assert (err, status) == ("", 0)
    assert lines[3].startswith(f"{position}  example_project.")
    assert lines[3].endswith(" ms")
    assert lines[4] == f'    updated training_school.Dog {FIDO}: tricks [] -> ["sit"]'
    assert lines[-1] == "All of this is undone."


@pytest.mark.any_database
def test_a_terminal_gets_a_table(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.register("Fido")

    out, _, _ = of_fido(out=Terminal())

    assert ["row", "field", "before", "after"] in [
        line.split() for line in out.splitlines()
    ]
    assert "training_school.Dog" in out
    monkeypatch.setenv("COLUMNS", "60")
    out, _, _ = of_fido(out=Terminal())
    assert all(len(line) <= 60 for line in out.splitlines()[1:-1])


@pytest.mark.any_database
def test_events_that_were_processed_are_marked(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    position = school.add_trick("Fido", "sit")

    out, _, status = of_fido()
    later, _, later_status = of_fido("--from", str(position))

    assert "processed before: its rows may have it already" in out
    assert "IntegrityError" in out
    assert status == 1
    assert "processed before" not in later
    assert later_status == 0


@pytest.mark.any_database
def test_where_an_event_fails_is_told(
    school: TrainingSchool, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry._registry, NAME)
    position = str(parked[0].position)

    out, err, status = debug("Picky", "--event", position)
    listed, _, _ = debug("Picky", "--event", position, "--json")

    assert "    RuntimeError: cannot burn <b>at all</b>" in out
    assert "failed_events.py" in out
    assert (err, status) == ("Failed: 1 of 1 event", 1)
    (event,) = json.loads(listed)
    assert event["error"] == "RuntimeError: cannot burn <b>at all</b>"
    assert "failed_events.py" in event["traceback"]
    assert event["changes"] == []
    PickyProjection.bad.clear()
    assert debug("Picky", "--event", position)[2] == 0


@pytest.mark.any_database
def test_what_is_wrong_is_one_line(school: TrainingSchool) -> None:
    position = school.register("Fido")

    for arguments, said in (
        (("Unknown", "--aggregate", FIDO), "No projection 'Unknown'"),
        ((NAME,), "Say which events"),
        ((NAME, "--aggregate", "unknown"), "no events of aggregate 'unknown'"),
        # A byte that is no character of UTF-8.
        ((NAME, "--aggregate", "\udcff"), r"no events of aggregate '\udcff'"),
        ((NAME, "--event", str(position + 1)), "There is no event of"),
        ((NAME, "--event", "1", "--from", "1"), "Give --from or --event"),
        ((NAME, "--event", "1", "--anew"), "--anew begins with the first event"),
        ((NAME, "--aggregate", FIDO, "--anew"), "which rows are an aggregate's"),
    ):
        out, err, status = debug(*arguments)
        assert said in err
        assert (out, err.count("\n"), status) == ("", 0, 2)


@pytest.mark.any_database
def test_a_store_that_is_away_is_one_line(
    school: TrainingSchool, settings: Any
) -> None:
    close_applications()
    settings.ESDB_URI = f"esdb://admin:{SECRET}@127.0.0.1:1?Tls=false"

    _, err, status = of_fido()

    assert status == 1
    assert err.count("\n") == 0
    assert "127.0.0.1:1" in err
    assert SECRET not in err


@pytest.mark.any_database
def test_secrets_are_masked(
    school: TrainingSchool, registration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"esdb://admin:{SECRET}@host:2113"
    school.register(address)

    listed, _, _ = debug(
        NAME, "--aggregate", str(DogAggregate.create_id(address)), "--json"
    )
    out, _, _ = debug(NAME, "--aggregate", str(DogAggregate.create_id(address)))

    assert "esdb://********@host:2113" in listed
    assert "esdb://********@host:2113" in out
    assert SECRET not in listed + out


@pytest.mark.any_database
def test_text_from_the_store_cannot_steer_the_terminal(school: TrainingSchool) -> None:
    school.register("Fido")
    school.add_trick("Fido", "\x1b[2J\u202e[red]sit")

    for out in (io.StringIO(), Terminal()):
        said, _, _ = of_fido(out=out)
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "[red]sit" in said
