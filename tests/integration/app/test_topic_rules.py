"""Whatever a topic says, no object is made of it but an event of the project's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import get_topic
from hypothesis import given
from hypothesis import strategies as st

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.topics.allowlist import allowlist_of
from eventsourcing_eventstoredb.topics.allowlist import TopicNotAllowedError
from example_project.training_school import application, domain, projections
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog

OWN = "example_project.training_school"
EVENT_CLASSES = (Dog.Event, Dog.Registered, Dog.TrickAdded, Snapshot)
EVENTS = sorted(map(get_topic, EVENT_CLASSES))

# What own modules have imported from elsewhere lies under their names as well.
ALIASES = sorted(
    f"{module.__name__}:{name}"
    for module in (application, domain, projections)
    for name in vars(module)
)
STANDARD = sorted(
    f"{name}:{each}"
    for name, module in list(sys.modules.items())
    if name.partition(".")[0] in sys.stdlib_module_names
    for each, found in list(vars(module).items())
    if inspect.isclass(found)
)

_names = st.text(max_size=5) | st.sampled_from(
    [
        *("__class__", "__base__", "__init__", "__globals__", "__mro__", "mro"),
        *("Dog", "Registered", "TrickAdded", "Snapshot", "Event", "originator_id"),
        *("os", "sys", "system", "Popen", "__subclasses__", "<locals>", ""),
    ]
)
_paths = st.lists(_names, max_size=4).map(".".join)
_modules = (
    st.text(max_size=8)
    | st.sampled_from(sorted(sys.stdlib_module_names))
    | st.sampled_from(
        [
            *(OWN, domain.__name__, f"{OWN}.models", f"{OWN}.domain_2", "tests"),
            *("os", "subprocess", "builtins", "importlib", "django.core", ".", ""),
            *("example_project", "eventsourcing.domain", "eventsourcing_eventstoredb"),
        ]
    )
)
TOPICS = st.one_of(
    st.builds("{}:{}".format, _modules, _paths),
    st.builds("{}.{}".format, st.sampled_from(ALIASES), _paths),
    st.builds("{}.{}".format, st.sampled_from(EVENTS), _paths),
    st.sampled_from(STANDARD),
    st.sampled_from(ALIASES),
    st.sampled_from(EVENTS),
    st.text(max_size=20),
)


class InMemory(TrainingSchool):
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_applications()


def other_modules() -> set[str]:
    return {name for name in sys.modules if not name.startswith(OWN)}


@given(TOPICS)
def test_nothing_else_is_imported_or_made(topic: str) -> None:
    before = other_modules()
    stored = StoredEvent(uuid4(), 0, topic, b'{"name": "x", "trick": "y"}')

    made: Any = None
    # What is in the list and is not there is one of the library's errors.
    with suppress(Exception):
        made = get_application(InMemory).mapper.to_domain_event(stored)

    assert other_modules() == before
    assert made is None or type(made) in EVENT_CLASSES


@given(st.sampled_from(STANDARD) | st.sampled_from(ALIASES))
def test_a_class_that_is_no_event_is_not_allowed(topic: str) -> None:
    assert allowlist_of({}).objection_to_event(topic)


@pytest.mark.parametrize("topic", ["os:system", "subprocess:Popen", *EVENTS[:1]])
def test_an_application_made_by_hand_on_another_store_obeys(
    tmp_path: Path, topic: str, settings: Any
) -> None:
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(tmp_path / "events.sqlite3"),
        "IS_SNAPSHOTTING_ENABLED": "y",
    }
    dog_id = Dog.create_id("Fido")
    with closing(TrainingSchool(env)) as school:
        school.register("Fido")
        school.take_snapshot(dog_id)
        assert school.get_dog_details("Fido")["name"] == "Fido"
    if topic in EVENTS:
        settings.ESDB_TOPIC_ALLOWLIST = ["elsewhere"]
    stored = StoredEvent(dog_id, 1, topic, b"{}")

    with closing(TrainingSchool(env)) as school:
        school.recorder.insert_events([stored])
        with pytest.raises(TopicNotAllowedError):
            list(school.events.get(dog_id))
        assert school.snapshots is not None
        school.snapshots.recorder.insert_events([stored])
        with pytest.raises(TopicNotAllowedError):
            list(school.snapshots.get(dog_id))


def test_what_is_in_memory_alone_is_read_as_it_is(settings: Any) -> None:
    settings.ESDB_TOPIC_ALLOWLIST = ["elsewhere"]

    with closing(InMemory()) as school:
        school.register("Fido")
        assert school.get_dog_details("Fido")["name"] == "Fido"
