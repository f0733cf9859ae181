"""ESDB_TOPIC_ALLOWLIST: which stored topics become objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.utils import register_topic

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.checks.configuration import check_all
from django_esdb.checks.deployment import check_deployment
from django_esdb.conf import own_apps
from django_esdb.exceptions import ConfigurationError, UndecodableEventError
from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner import ProjectionRunner, Supervisor
from django_esdb.topics.allowlist import allowlist_of
from eventsourcing_eventstoredb.topics.allowlist import TopicNotAllowedError
from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up

DOMAIN = domain.__name__


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The topic of a class whose module leaves a mark when it is imported."""
    module = f"hostile_{uuid4().hex}"
    mark = tmp_path / "mark"
    (tmp_path / f"{module}.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nclass Event:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield f"{module}:Event"
    assert not mark.exists()
    assert module not in sys.modules


def insert(school: Application[UUID], topic: str) -> StoredEvent:
    stored = StoredEvent(uuid4(), 0, topic, b"{}")
    school.recorder.insert_events([stored])
    return stored


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_the_school_works_with_its_own_domain_allowed(
    school: TrainingSchool, settings: Any, school_projection: Registration
) -> None:
    settings.ESDB_TOPIC_ALLOWLIST = [DOMAIN, domain.FORMER_MODULE]
    settings.ESDB_ENV = {"IS_SNAPSHOTTING_ENABLED": "y"}
    school = get_application(TrainingSchool)
    insert(school, f"{domain.FORMER_MODULE}:Dog.Unknown")
    school.register("Fido")
    school.take_snapshot(Dog.create_id("Fido"))
    school.add_trick("Fido", "sit")

    catch_up(school_projection)

    assert school.get_dog_details("Fido")["tricks"] == ("sit",)
    assert ProjectionTracking.objects.get().position is not None


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_projection_stops_at_an_event_that_is_not_allowed(
    school: TrainingSchool,
    settings: Any,
    registration: Callable[..., Registration],
    hostile: str,
) -> None:
    class Everything(TrainingSchoolProjection):
        topics = ()

    settings.ESDB_TOPIC_ALLOWLIST = (DOMAIN,)
    school = get_application(TrainingSchool)
    before = school.register("Fido")
    stored = insert(school, hostile)
    after = school.register("Rex")

    with pytest.raises(UndecodableEventError) as raised:
        Supervisor(
            registration(projection_class=Everything), until_caught_up=True
        ).run()

    text = str(raised.value)
    assert text.isprintable()
    for part in (
        f"topic {hostile!r}, stream '{stored.originator_id}', version 0, position ",
        "is not allowed",
        "ESDB_TOPIC_ALLOWLIST",
    ):
        assert part in text
    assert before <= ProjectionTracking.objects.get().position < after


@pytest.mark.parametrize("id_type", [{}, {"ORIGINATOR_ID_TYPE": "uuid"}])
def test_an_application_does_not_read_what_is_not_allowed(
    school: TrainingSchool, settings: Any, hostile: str, id_type: dict[str, str]
) -> None:
    stored = insert(school, hostile)
    settings.ESDB_TOPIC_ALLOWLIST = [DOMAIN]
    settings.ESDB_ENV = id_type
    school = get_application(TrainingSchool)

    with pytest.raises(TopicNotAllowedError, match="ESDB_TOPIC_ALLOWLIST"):
        school.repository.get(stored.originator_id)
    [notification] = school.recorder.select_notifications(None, 10)
    with pytest.raises(TopicNotAllowedError, match=f"position {notification.id};"):
        school.mapper.to_domain_event(notification)


def test_the_setting_is_read_live(school: TrainingSchool, settings: Any) -> None:
    school.register("Fido")

    def is_readable() -> bool:
        try:
            get_application(TrainingSchool).get_dog_details("Fido")
        except TopicNotAllowedError:
            return False
        return True

    assert is_readable()
    settings.ESDB_TOPIC_ALLOWLIST = ["elsewhere"]
    assert not is_readable()
    settings.ESDB_TOPIC_ALLOWLIST = [f"{DOMAIN}:Dog"]
    assert is_readable()


class OwnMapper(Mapper[Any]):
    pass


class OwnMapperSchool(TrainingSchool):
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo", "IS_SNAPSHOTTING_ENABLED": "y"}

    def construct_mapper(self) -> Mapper[Any]:
        return OwnMapper(transcoder=self.construct_transcoder())


@pytest.fixture
def own_mapper_school(settings: Any) -> Iterator[OwnMapperSchool]:
    """A school on another persistence module, which makes its mapper itself."""
    settings.ESDB_TOPIC_ALLOWLIST = [f"{DOMAIN}:Dog"]
    yield get_application(OwnMapperSchool)
    close_applications()


def test_the_list_holds_for_any_persistence_module_and_mapper(
    own_mapper_school: OwnMapperSchool, hostile: str
) -> None:
    school = own_mapper_school
    school.register("Fido")
    assert school.get_dog_details("Fido")["name"] == "Fido"
    stored = insert(school, hostile)

    with pytest.raises(TopicNotAllowedError):
        school.repository.get(stored.originator_id)
    assert school.snapshots is not None
    school.snapshots.recorder.insert_events([stored])
    with pytest.raises(TopicNotAllowedError):
        list(school.snapshots.get(stored.originator_id))


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_runner_made_by_hand_obeys_the_setting(
    school: TrainingSchool, settings: Any, hostile: str
) -> None:
    class Everything(TrainingSchoolProjection):
        topics = ()

    insert(school, hostile)
    school.register("Fido")
    settings.ESDB_TOPIC_ALLOWLIST = ["elsewhere"]

    with (
        pytest.raises(UndecodableEventError, match="ESDB_TOPIC_ALLOWLIST"),
        ProjectionRunner(
            application_class=TrainingSchool,
            projection_class=Everything,
            view_class=TrainingSchoolView,
            env={
                "TRAININGSCHOOL_PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
                "PERSISTENCE_MODULE": "django_esdb.persistence",
                "EVENTSTOREDB_URI": settings.ESDB_URI,
            },
        ) as runner,
    ):
        with pytest.raises(TopicNotAllowedError):
            runner.app.get_dog_details("Fido")
        runner.run_forever(timeout=30)


@pytest.mark.parametrize(
    "value",
    [DOMAIN, [], [1], {DOMAIN: 1}, ["a b"], [f"{DOMAIN}:"], ["school.*"], 7, True],
    ids=repr,
)
def test_a_malformed_list_is_an_error_and_allows_nothing(
    settings: Any, value: object
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    settings.ESDB_TOPIC_ALLOWLIST = value

    [message] = check_all()

    assert message.id == "django_esdb.E010"
    assert "ESDB_TOPIC_ALLOWLIST " in message.msg
    with pytest.raises(ImproperlyConfigured, match=r"^ESDB_TOPIC_ALLOWLIST"):
        get_application(TrainingSchool)


@pytest.mark.parametrize("value", [None, [DOMAIN], (f"{DOMAIN}:Dog", "other")])
def test_a_list_or_none_is_no_error(settings: Any, value: object) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    settings.ESDB_TOPIC_ALLOWLIST = value

    assert check_all() == []


def test_a_malformed_list_in_the_environment_allows_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTOREDB_TOPIC_ALLOWLIST", ",")
    settings.ESDB_URI = "esdb://localhost?Tls=false"

    [message] = check_all()
    assert message.id == "django_esdb.E010"
    assert "EVENTSTOREDB_TOPIC_ALLOWLIST " in message.msg
    with pytest.raises(ConfigurationError, match=r"^EVENTSTOREDB_TOPIC_ALLOWLIST"):
        get_application(OwnMapperSchool)


STANDARD = [
    "tempfile:_TemporaryFileCloser",
    "logging:FileHandler",
    "subprocess:Popen",
    "os:path.join",
    "os:system",
    "shutil:rmtree",
    "builtins:eval",
    "django.contrib.auth.models:User",
    "django_esdb.models:ProjectionTracking",
    f"{DOMAIN}:register_topic",
    f"{DOMAIN}:Dog",
    "example_project.training_school.application:TrainingSchool",
    "eventsourcing.domain:AggregateCreated",
    "eventsourcing.domain:BaseAggregate.Event",
]


@pytest.mark.parametrize("topic", STANDARD)
@pytest.mark.parametrize("plain", [False, True], ids=["get_application", "plain"])
def test_by_default_nothing_but_own_events_is_made(
    school: TrainingSchool, topic: str, plain: bool
) -> None:
    stored = insert(school, topic)
    application = TrainingSchool() if plain else school

    with pytest.raises(TopicNotAllowedError):
        application.repository.get(stored.originator_id)
    [notification] = application.recorder.select_notifications(None, 10)
    with pytest.raises(TopicNotAllowedError):
        application.mapper.to_domain_event(notification)
    if plain:
        application.close()


def test_by_default_a_foreign_module_is_not_imported(
    school: TrainingSchool, hostile: str
) -> None:
    stored = insert(school, hostile)

    with pytest.raises(TopicNotAllowedError):
        school.repository.get(stored.originator_id)


@pytest.mark.parametrize("topic", [t for t in STANDARD if t != f"{DOMAIN}:Dog"])
def test_a_first_event_names_no_other_class_than_an_aggregates(
    school: TrainingSchool, topic: str
) -> None:
    state = json.dumps({"originator_topic": topic}).encode()
    stored = StoredEvent(uuid4(), 0, f"{DOMAIN}:Dog.Registered", state)
    school.recorder.insert_events([stored])

    with pytest.raises(TopicNotAllowedError):
        school.repository.get(stored.originator_id)


@pytest.mark.usefixtures("former_names", "school")
def test_a_former_name_is_allowed_by_default_where_its_class_is() -> None:
    with_default = allowlist_of({})
    register_topic("gone.kennel:Hound", Dog)
    register_topic("gone.library:Runner", Supervisor)

    assert with_default.permits("gone.kennel:Hound.Registered")
    assert with_default.objection_to_event("gone.kennel:Hound.Registered") is None
    assert not with_default.permits("gone.library:Runner")
    assert not with_default.permits("gone.library:Other")


def test_apps_are_widened_by_further_entries(settings: Any) -> None:
    settings.ESDB_TOPIC_ALLOWLIST = ["@apps", "tests.integration"]

    allowlist = allowlist_of({})

    assert allowlist.permits(f"{DOMAIN}:Dog.Registered")
    assert allowlist.permits(f"{__name__}:OwnMapperSchool")
    assert allowlist.objection_to_event(f"{__name__}:OwnMapperSchool") is not None
    settings.ESDB_EVENT_BASES = ["eventsourcing.application:Application"]
    assert allowlist_of({}).objection_to_event(f"{__name__}:OwnMapperSchool") is None


@pytest.mark.parametrize(
    ("name", "path", "own"),
    [
        ("school", "/srv/app/school", True),
        ("shop", "/venv/lib/python3.12/site-packages/shop", False),
        ("shop", "/usr/lib/python3/dist-packages/shop", False),
        ("example_project.x", "/venv/lib/site-packages/example_project/x", True),
        ("django.contrib.auth", "/src/django/contrib/auth", False),
    ],
)
def test_own_apps_are_those_of_the_project(
    monkeypatch: pytest.MonkeyPatch, name: str, path: str, own: bool
) -> None:
    config = SimpleNamespace(name=name, path=path)
    monkeypatch.setattr(apps, "app_configs", {name: config})
    monkeypatch.setattr(django_settings, "ROOT_URLCONF", "example_project.urls")

    assert own_apps() == ((name,) if own else ())


@pytest.mark.parametrize(
    "widened",
    [
        {"ESDB_TOPIC_ALLOWLIST": ["@apps", "shared.events"]},
        {"ESDB_TOPIC_ALLOWLIST": ["@anywhere"]},
        {"ESDB_EVENT_BASES": ["shared.events:Base"]},
        {"ESDB_ENV": {"EVENTSTOREDB_TOPIC_ALLOWLIST": "shared.events"}},
    ],
    ids=repr,
)
def test_a_deployment_check_tells_of_wider_lists(
    settings: Any, widened: dict[str, Any]
) -> None:
    def ids() -> set[str | None]:
        return {message.id for message in check_deployment()}

    for narrow in (None, ["@apps"], [DOMAIN], [f"{DOMAIN}:Dog"]):
        settings.ESDB_TOPIC_ALLOWLIST = narrow
        assert "django_esdb.W011" not in ids()
    settings.ESDB_TOPIC_ALLOWLIST = None
    for name, value in widened.items():
        setattr(settings, name, value)
    assert "django_esdb.W011" in ids()
