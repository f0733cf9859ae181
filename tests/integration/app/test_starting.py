"""What a projection looks at before it begins."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from django_esdb.exceptions import OtherStoreError, ProjectionError
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
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
        (event,) = [
            event for event in client.read_all() if event.commit_position == last
        ]
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


@pytest.mark.django_db(transaction=True)
def test_another_store_with_no_event_at_the_position_is_noticed(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    last = school.register("Fido")
    catch_up(school_projection)

    names = ["A dog with quite a long name, for a dog", "Rex"]
    text = refused_by_another_store(school_projection, settings, names)

    assert str(last) in text


@pytest.mark.django_db(transaction=True)
def test_a_position_ahead_of_the_store_is_noticed(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    for number in range(5):
        last = school.register(f"dog {number}")
    catch_up(school_projection)

    text = refused_by_another_store(school_projection, settings, ["Rex"])

    assert f"there is no event at position {last}" in text


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


@pytest.mark.django_db(transaction=True)
def test_a_fingerprint_is_kept_with_the_first_event_and_no_later(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Changed(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name
        topics = (*TrainingSchoolProjection.topics, "another:Topic")

    school.register("Fido")
    catch_up(registration())
    first = tracking().fingerprint
    school.register("Rex")
    catch_up(registration(projection_class=Changed))

    assert first == fingerprint(registration())
    assert tracking().fingerprint == first
    assert fingerprint(registration(projection_class=Changed)) != first


PROJECTION = '''
class Projection{base}:
    """{docstring}"""

    topics = ("a",)

    def process_event(self, event, tracking):
        # {comment}
        {body}
'''


def test_a_fingerprint_changes_with_the_code_and_with_nothing_else(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: dict[type[Any], str] = {}
    original = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda c: texts.get(c) or original(c))

    def of(**changes: str) -> str:
        parts = {"base": "", "docstring": "x", "comment": "x", "body": "pass"}
        texts[TrainingSchoolProjection] = PROJECTION.format(**{**parts, **changes})
        return fingerprint(registration())

    assert of() == of(docstring="Another one.") == of(comment="another one")
    assert of(body="return  None") == of(body="return None")
    assert of() != of(body="return None")
    # Indented, as within a function.
    plain = of()
    texts[TrainingSchoolProjection] = "\n".join(
        "    " + line for line in texts[TrainingSchoolProjection].splitlines()
    )
    assert fingerprint(registration()) == plain


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_fingerprints_are_made_by_many_threads_at_once(
    registration: MakeRegistration,
) -> None:
    expected = fingerprint(registration())

    with ThreadPoolExecutor(8) as executor:
        at_once = list(executor.map(fingerprint, [registration()] * 100))

    assert set(at_once) == {expected}


def test_a_fingerprint_covers_the_views_code(registration: MakeRegistration) -> None:
    class Other(TrainingSchoolView):
        def register_dog(self, dog_id: Any, name: str, tracking: Any) -> None:
            super().register_dog(dog_id, name.upper(), tracking)

    assert fingerprint(registration(view_class=Other)) != fingerprint(registration())


def test_a_fingerprint_bears_with_other_codes_use_of_the_parser(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint(registration())
    original = inspect.getsource
    failing = itertools.cycle([True, True, False])

    def clashing(cls: type[Any]) -> str:
        # Cannot be provoked: it takes another thread in the middle of its parsing.
        if next(failing):
            raise SystemError("AST constructor recursion depth mismatch")
        return original(cls)

    monkeypatch.setattr(inspect, "getsource", clashing)

    assert fingerprint(registration()) == expected
