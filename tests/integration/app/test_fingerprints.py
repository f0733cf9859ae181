"""By what a projection's definition is known."""

from __future__ import annotations

import inspect
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from django_esdb import registry as registry_module
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import SEVERAL, fingerprint
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up, tracking

MakeRegistration = Callable[..., Registration]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> dict[type[Any], str]:
    """The code that classes are to have; of others it is what it is."""
    texts: dict[type[Any], str] = {}
    original = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda c: texts.get(c) or original(c))
    return texts


@pytest.mark.django_db(transaction=True)
def test_a_fingerprint_is_kept_with_the_first_event_until_other_code_has_run(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Changed(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name
        topics = (*TrainingSchoolProjection.topics, "another:Topic")

    school.register("Fido")
    catch_up(registration())
    first = tracking().fingerprint
    school.register("Rex")
    catch_up(registration())
    later = tracking().fingerprint
    school.register("Bello")
    catch_up(registration(projection_class=Changed))

    assert first == later == fingerprint(registration())
    assert tracking().fingerprint == SEVERAL
    assert fingerprint(registration(projection_class=Changed)) != first


# Names by which projections may be registered as well.
registered = registry_module.register_projection
parking = partial(registered, on_failure="park")

PROJECTION = '''
class Projection{base}:
    """{docstring}"""

    topics = ("a",)

    def process_event(self, event, tracking):
        # {comment}
        {body}
'''


def another_class() -> type[TrainingSchoolProjection]:
    """Make a class whose source was not read yet; all have the same."""

    class Another(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

    return Another


def test_a_fingerprint_changes_with_the_code_and_with_nothing_else(
    registration: MakeRegistration, sources: dict[type[Any], str]
) -> None:
    def of(indent: str = "", **changes: str) -> str:
        parts = {"base": "", "docstring": "x", "comment": "x", "body": "pass"}
        text = PROJECTION.format(**{**parts, **changes})
        cls = another_class()
        sources[cls] = textwrap.indent(text, indent)
        return fingerprint(registration(projection_class=cls))

    assert of() == of(docstring="Another one.") == of(comment="another one")
    assert of(body="return  None") == of(body="return None")
    assert of() != of(body="return None")
    # As within a function.
    assert of() == of(indent="    ")


def test_a_fingerprint_is_that_of_the_code_that_runs(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(registration())
    changed = PROJECTION.format(base="", docstring="", comment="", body="return 1")
    monkeypatch.setattr(inspect, "getsource", lambda cls: changed)
    assert fingerprint(registration()) == before


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
    def made() -> Registration:
        return registration(projection_class=another_class())

    expected = fingerprint(made())

    with ThreadPoolExecutor(8) as executor:
        at_once = list(executor.map(fingerprint, [made() for _ in range(100)]))

    assert set(at_once) == {expected}


def test_a_fingerprint_covers_the_views_code(registration: MakeRegistration) -> None:
    class Other(TrainingSchoolView):
        def register_dog(self, dog_id: Any, name: str, tracking: Any) -> None:
            super().register_dog(dog_id, name.upper(), tracking)

    assert fingerprint(registration(view_class=Other)) != fingerprint(registration())


def test_a_fingerprint_bears_with_other_codes_use_of_the_parser(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint(registration(projection_class=another_class()))
    original = inspect.getsource
    failing = itertools.cycle([True, True, False])

    def clashing(cls: type[Any]) -> str:
        # Cannot be provoked: it takes another thread in the middle of its parsing.
        if next(failing):
            raise SystemError("AST constructor recursion depth mismatch")
        return original(cls)

    monkeypatch.setattr(inspect, "getsource", clashing)

    assert fingerprint(registration(projection_class=another_class())) == expected


SOURCE = """
@{register}(application_class=A, view_class=V{policy})
{decorator}class Projection(Base):
    topics = (
        {topics},
    )

    def process_event(self, event, tracking):
        {body}
"""


def test_policy_and_order_of_topics_are_no_part_of_the_fingerprint(
    registration: MakeRegistration, sources: dict[type[Any], str]
) -> None:
    def of(*topics: str, **changes: str) -> str:
        parts = {"policy": "", "decorator": "", "topics": '"a"', "body": "pass"}
        parts["register"] = "register_projection"
        changed = another_class()
        sources[changed] = SOURCE.format(**{**parts, **changes})
        if topics:
            changed.topics = topics
        return fingerprint(registration(projection_class=changed))

    assert of() == of(policy=", on_failure='park',\n    retries=3")
    assert of("a", "b") == of("b", "a", topics='"b", "a"') == of("b", "a", "b")
    assert of("a", "b") != of("a")
    assert of() != of(body="return 1")
    assert of() != of(decorator="@other\n")
    for register in ("registered", "registry_module.register_projection", "parking"):
        assert of() == of(register=register, policy=", retries=3")
    assert of() != of(register="other")
    assert fingerprint(registration()) == fingerprint(
        registration(on_failure=OnFailure.PARK, retries=7)
    )
