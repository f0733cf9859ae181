"""What a projection looks at before it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from django_esdb.exceptions import OtherStoreError, ProjectionError
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
)
from tests.support.client_library import EventStoreDBClient
from tests.support.stores import append, school_at
from tests.support.supervising import catch_up, tracking

MakeRegistration = Callable[..., Registration]


def refused(registration: Registration) -> str:
    """Run a projection that must not run, and return why."""
    before = ProjectionTracking.objects.get()
    with pytest.raises(ProjectionError) as raised:
        catch_up(registration)
    after = ProjectionTracking.objects.get()
    assert after.position == before.position
    assert after.state == ProjectionState.STOPPED
    assert after.error == str(raised.value)
    assert "\n" not in after.error
    return str(raised.value)


def refused_by_another_store(
    registration: Registration, settings: Any, names: list[str]
) -> str:
    """Run on a store in which only these dogs are registered; return why it fails."""
    with EmbeddedServer() as other:
        settings.ESDB_URI = other.uri
        with school_at(other) as school:
            for name in names:
                school.register(name)
        return refused(registration)


@pytest.mark.django_db(transaction=True)
def test_the_last_events_id_is_kept_with_the_position(
    school: TrainingSchool, school_projection: Registration, server: EmbeddedServer
) -> None:
    last = school.register("Fido")
    catch_up(school_projection)

    client = EventStoreDBClient(server.uri)
    try:
        (event,) = client.read_all(commit_position=last, limit=1)
    finally:
        client.close()
    row = tracking()
    assert (row.event_position, row.event_id) == (last, str(event.id))


@pytest.mark.django_db(transaction=True)
def test_another_store_with_an_event_at_the_same_position_is_noticed(
    school: TrainingSchool, school_projection: Registration
) -> None:
    last = school.register("Fido")
    catch_up(school_projection)
    school.register("Rex")

    # As if the position were of a store that has another event there.
    ProjectionTracking.objects.update(event_id=str(uuid4()))
    text = refused(school_projection)

    assert f"at position {last}" in text
    assert "where there is another one now" in text
    assert [dog.name for dog in Dog.objects.all()] == ["Fido"]


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_another_store_with_no_event_at_the_position_is_noticed(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    last = tracking().position

    names = ["A dog with quite a long name, for a dog", "Rex"]
    text = refused_by_another_store(school_projection, settings, names)

    assert str(last) in text


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_position_ahead_of_the_store_is_noticed(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    for number in range(5):
        school.register(f"dog {number}")
    catch_up(school_projection)
    last = tracking().position

    text = refused_by_another_store(school_projection, settings, ["Rex"])

    assert f"there is no event at position {last}" in text


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_position_that_nothing_was_processed_at_is_compared_too(
    school: TrainingSchool, school_projection: Registration, server: EmbeddedServer
) -> None:
    last = school.register("Fido")
    append(server, "foreign", "Foreign")
    ProjectionTracking.objects.create(
        projection=TrainingSchoolProjection.name,
        application=school.name,
        position=last,
        event_position=last,
        event_id="00000000-0000-0000-0000-000000000000",
    )

    with pytest.raises(OtherStoreError):
        catch_up(school_projection)


@pytest.mark.any_database
@pytest.mark.own_store("it must speak no TLS")
@pytest.mark.django_db(transaction=True)
def test_a_store_that_refuses_the_client_is_not_taken_for_another_one(
    school: TrainingSchool,
    school_projection: Registration,
    settings: Any,
    server: EmbeddedServer,
) -> None:
    school.register("Fido")
    catch_up(school_projection)
    # It speaks no TLS.
    settings.ESDB_URI = f"esdb://admin:s3cret-w0rd@{server.target}"

    with pytest.raises(ProjectionError) as refused:
        catch_up(school_projection)

    assert not isinstance(refused.value, OtherStoreError)
    assert "the server's certificate was not accepted" in str(refused.value)
    assert "s3cret-w0rd" not in str(refused.value)
