"""Events that eventsourcing-django stores in the Django database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up, running, tracking

pytest.importorskip("eventsourcing_django", reason="eventsourcing-django is missing")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("library_store", ["eventsourcing-django"], indirect=True),
]

WRITERS = 4
DOGS = 12


@pytest.fixture
def other_school(school: TrainingSchool) -> Iterator[TrainingSchool]:
    """Another application whose events are in the same table."""

    class OtherSchool(TrainingSchool):
        pass

    other = OtherSchool({"PERSISTENCE_MODULE": "eventsourcing_django"})
    yield other
    other.close()


def test_no_event_is_passed_over_that_is_committed_late(
    school: TrainingSchool,
    other_school: TrainingSchool,
    school_projection: Registration,
) -> None:

    def write(writer: int) -> None:
        for number in range(DOGS):
            with transaction.atomic():
                if number % 3 == 0:
                    other_school.register(f"{writer}-{number}")
                school.register(f"{writer}-{number}")
                # The events of the others may be committed before.
                time.sleep(0.02 * (writer % 2))
                transaction.set_rollback(number % 4 == 3)
        connections.close_all()

    writers = [threading.Thread(target=write, args=(each,)) for each in range(WRITERS)]
    view = TrainingSchoolView(TrainingSchoolProjection.name)
    with running(school_projection):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        view.wait(school.name, school.register("the last"), timeout=60)

    names = {
        f"{writer}-{number}"
        for writer in range(WRITERS)
        for number in range(DOGS)
        if number % 4 != 3
    }
    assert set(Dog.objects.values_list("name", flat=True)) == {*names, "the last"}
    assert SchoolCounts.objects.get().dogs == len(names) + 1


def test_what_is_rolled_back_with_the_event_is_not_seen(
    school: TrainingSchool, school_projection: Registration
) -> None:
    with transaction.atomic():
        school.register("Rex")
        transaction.set_rollback(True)
    last = school.register("Fido")

    catch_up(school_projection)

    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]
    assert tracking().position == last


def test_another_application_in_the_same_table_is_left_alone(
    school: TrainingSchool,
    other_school: TrainingSchool,
    school_projection: Registration,
) -> None:
    school.register("Fido")
    other_school.register("Rex")
    catch_up(school_projection)

    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]


def test_connections_of_all_threads_are_closed(
    school: TrainingSchool, school_projection: Registration, monkeypatch: Any
) -> None:
    used: dict[str, bool] = {}
    close_all = connections.close_all

    def noting() -> None:
        wrapper = connections["default"]
        name = threading.current_thread().name
        used[name] = used.get(name, False) or wrapper.connection is not None
        close_all()

    monkeypatch.setattr(connections, "close_all", noting)
    school.register("Fido")
    catch_up(school_projection)

    # The supervisor's, the processing thread's, and the one that polls.
    assert len(used) == 3, used
    assert all(used.values()), used
