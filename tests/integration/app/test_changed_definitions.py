"""Code that changes while rows, positions and pauses stay."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_esdb.models import ProjectionState
from django_esdb.registry import Registration
from django_esdb.status import accepting
from django_esdb.status.accepting import accept_definition
from django_esdb.status.fingerprints import fingerprint
from django_esdb.status.status import is_definition_changed
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import PickyProjection, tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

MakeRegistration = Callable[..., Registration]

NAME = TrainingSchoolProjection.name


class NewPicky(PickyProjection):
    """The same projection with code that takes each trick."""

    name = PickyProjection.name

    def process_event(self, domain_event: Any, tracking: Any) -> None:
        super(PickyProjection, self).process_event(domain_event, tracking)


class OtherPicky(PickyProjection):
    """Other code that fails, too."""

    name = PickyProjection.name

    def process_event(self, domain_event: Any, tracking: Any) -> None:
        super().process_event(domain_event, tracking)


def accept(name: str = NAME) -> str:
    out = io.StringIO()
    call_command("acceptprojection", name, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_changed_definition_is_accepted(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    assert "has not changed" in accept()
    catch_up(school_projection)
    assert "has not changed" in accept()
    school_projection.tracked().queryset().update(fingerprint="0" * 64)
    assert is_definition_changed(school_projection, tracking())

    assert "is accepted" in accept()

    assert tracking().fingerprint == fingerprint(school_projection)
    assert not is_definition_changed(school_projection, tracking())
    assert not accept_definition(school_projection)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begun_anew", [{"fingerprint": "1" * 64}, {"position": None}])
def test_rows_that_are_begun_anew_meanwhile_are_not_accepted(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    begun_anew: dict[str, Any],
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    rows = school_projection.tracked().queryset()
    rows.update(fingerprint="0" * 64)

    def changed(*args: Any) -> bool:
        return bool(rows.update(**begun_anew))

    monkeypatch.setattr(accepting, "is_definition_changed", changed)

    assert not accept_definition(school_projection)
    assert tracking().fingerprint in ("0" * 64, "1" * 64)


class FewerTopics(TrainingSchoolProjection):
    """The same projection with code that passes over tricks."""

    name = NAME
    topics = TrainingSchoolProjection.topics[:1]


@pytest.mark.django_db(transaction=True)
def test_other_code_that_has_run_in_between_is_told_of_when_it_is_gone(
    school: TrainingSchool, school_projection: Registration
) -> None:
    other = replace(school_projection, projection_class=FewerTopics)
    school.register("Fido")
    catch_up(school_projection)
    school.add_trick("Fido", "sit")
    school.register("Rex")
    catch_up(other)
    assert is_definition_changed(other, tracking())

    catch_up(school_projection)

    assert tricks("Fido") == []
    assert is_definition_changed(school_projection, tracking())
    assert "is accepted" in accept()
    school.register("Bello")
    catch_up(school_projection)
    assert not is_definition_changed(school_projection, tracking())


@pytest.mark.django_db(transaction=True)
def test_other_code_that_is_accepted_before_it_processes_is_not_told_of(
    school: TrainingSchool, school_projection: Registration
) -> None:
    other = replace(school_projection, projection_class=FewerTopics)
    school.register("Fido")
    catch_up(school_projection)
    with running(other):
        wait_until(lambda: tracking().owner)
        accept_definition(other)
        last = school.register("Rex")
        wait_until(lambda: (tracking().position or 0) >= last)

    assert tracking().fingerprint == fingerprint(other)


@pytest.mark.django_db
def test_only_a_registered_projection_can_be_accepted(school: TrainingSchool) -> None:
    with pytest.raises(CommandError, match="No projection") as refused:
        accept("Nothing")
    assert refused.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_standby_with_other_code_resumes_what_older_code_has_paused(
    school: TrainingSchool,
    registration: MakeRegistration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PickyProjection, "bad", {"burn"})
    school.register("Fido")
    with running(registration(projection_class=PickyProjection)) as old:
        wait_until(lambda: Dog.objects.exists())
        with running(registration(projection_class=NewPicky)) as new:
            assert new.events == ["standing by"]

            school.add_trick("Fido", "burn")

            wait_until(lambda: tricks("Fido") == ["burn"])
            assert new.events == ["standing by", "started"]
            assert old.pauses
            wait_until(lambda: tracking().state == ProjectionState.RUNNING)
            assert tracking().error == ""


@pytest.mark.django_db(transaction=True)
def test_each_code_tries_once_what_others_have_paused(
    school: TrainingSchool,
    registration: MakeRegistration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PickyProjection, "bad", {"burn"})
    school.register("Fido")
    registrations = [
        registration(projection_class=each) for each in (PickyProjection, OtherPicky)
    ]
    with running(registrations[0]) as first, running(registrations[1]) as second:
        wait_until(lambda: Dog.objects.exists())
        school.add_trick("Fido", "burn")
        wait_until(lambda: first.pauses and second.pauses)
        # Both look at it a few times.
        pauses = [first.pauses, second.pauses]
        assert not first.thread.join(2)
        assert [len(each) for each in pauses] == [1, 1]
        row = tracking()

    assert row.state == ProjectionState.PAUSED
    assert set(row.pausing_fingerprints()) == {fingerprint(r) for r in registrations}
