"""``ESDB_TOPIC_ALIASES``: events under topics that their classes had before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from eventsourcing import utils
from eventsourcing.utils import TopicError, get_topic, register_topic, resolve_topic

from django_esdb import get_application
from django_esdb.checks.configuration import check_all
from django_esdb.registry import Registration
from django_esdb.topics.aliases import apply_topic_aliases
from eventsourcing_eventstoredb.exceptions import TopicNotAllowedError
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.topics.aliases import is_alias
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.running_stores import own_stream
from tests.support.supervising import catch_up

DOG = get_topic(Dog)
OLD = "old_school.dogs:Hound"


class Plain:
    """Neither an event nor an aggregate."""


@pytest.fixture(autouse=True)
def _forget(former_names: None, settings: Any) -> Iterator[None]:
    yield
    settings.ESDB_TOPIC_ALIASES = {}
    assert not is_alias(OLD)


@pytest.fixture
def old_events(school: TrainingSchool, server: EmbeddedServer) -> None:
    """Rex and a trick of his, as they were recorded when dogs were hounds."""
    school.register("Fido")
    school.add_trick("Fido", "roll over")
    events = school.recorder.select_notifications(None, 10)
    with EventStoreDBClient(server.uri) as client:
        client.append_events(
            own_stream(server, str(Dog.create_id("Rex"))),
            current_version=StreamState.NO_STREAM,
            events=[
                NewEvent(
                    each.topic.replace(DOG, OLD),
                    each.state.replace(DOG.encode(), OLD.encode()),
                )
                for each in events
            ],
        )


def read() -> Any:
    return get_application(TrainingSchool).get_dog_details("Rex")


def found() -> list[str]:
    return [each.msg for each in check_all() if each.id == "django_esdb.E031"]


@pytest.mark.usefixtures("old_events")
@pytest.mark.parametrize("named", [DOG, Dog], ids=["topic", "class"])
def test_old_events_are_read_while_the_setting_says_so(
    settings: Any, named: Any
) -> None:
    with pytest.raises(TopicNotAllowedError):
        read()

    settings.ESDB_TOPIC_ALIASES = {OLD: named}
    assert found() == []
    assert read() == {"name": "Fido", "tricks": ("roll over",)}
    with closing(TrainingSchool()) as plain:
        assert plain.get_dog_details("Rex")["name"] == "Fido"

    settings.ESDB_TOPIC_ALIASES = {"another:Dog": named}
    with pytest.raises(TopicNotAllowedError):
        read()
    with pytest.raises(TopicError):
        resolve_topic(f"{OLD}.Registered")


@pytest.mark.usefixtures("old_events")
def test_what_it_leads_to_has_to_be_allowed_and_no_more(settings: Any) -> None:
    settings.ESDB_TOPIC_ALIASES = {OLD: DOG}

    settings.ESDB_TOPIC_ALLOWLIST = [DOG]
    assert read()["name"] == "Fido"
    assert found() == []

    settings.ESDB_TOPIC_ALLOWLIST = ["school.events", "old_school.dogs"]
    with pytest.raises(TopicNotAllowedError):
        read()
    (message,) = found()
    assert OLD in message
    assert "is not allowed" in message


@pytest.mark.usefixtures("old_events")
def test_the_list_of_the_environment_counts_as_well(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTOREDB_TOPIC_ALLOWLIST", DOG)
    settings.ESDB_TOPIC_ALIASES = {OLD: DOG}

    assert read()["name"] == "Fido"


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("old_events")
def test_projections_get_them_and_keep_their_definition(
    settings: Any, school_projection: Registration
) -> None:
    before = school_projection.topics
    settings.ESDB_TOPIC_ALIASES = {OLD: DOG}

    catch_up(school_projection)

    assert DogRow.objects.get(id=Dog.create_id("Rex")).tricks == ["roll over"]
    assert {*school_projection.topics} - {*before} == {
        f"{OLD}.Registered",
        f"{OLD}.TrickAdded",
    }


@pytest.mark.usefixtures("school")
def test_events_have_names_of_their_own(settings: Any) -> None:
    settings.ESDB_TOPIC_ALIASES = {"old:Started": get_topic(Dog.Registered)}

    assert resolve_topic("old:Started") is Dog.Registered
    with pytest.raises(TopicError):
        resolve_topic("old:Dog.Registered")
    # What is saved has today's name.
    get_application(TrainingSchool).register("Fido")
    (event,) = get_application(TrainingSchool).recorder.select_notifications(None, 9)
    assert event.topic == get_topic(Dog.Registered)


@pytest.mark.any_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("aliases", "reason"),
    [
        ([(OLD, DOG)], "is no dictionary"),
        ({OLD: None}, f"'{OLD}' has no class"),
        ({OLD: "school.domain.Dog"}, "has no class, or topic of one like"),
        ({7: DOG}, "'7' is no topic"),
        ({"": DOG}, "is no topic"),
        ({OLD: "no.such:Dog"}, "leads nowhere: TopicError"),
        ({OLD: f"{DOG}.Gone"}, "leads nowhere: TopicError"),
        ({OLD: "example_project.training_school.domain:FORMER_MODULE"}, "is no class"),
        ({OLD: DOG, "older:Dog": OLD}, "which is an old topic itself"),
        ({f"{DOG}.Registered": f"{DOG}.TrickAdded"}, "Dog.Registered' already"),
        ({OLD: f"{__name__}:Plain"}, "is not allowed"),
        ({OLD: "eventsourcing.domain:Aggregate"}, "is not allowed"),
    ],
)
def test_one_that_cannot_be_used_is_told(
    settings: Any, aliases: Any, reason: str
) -> None:
    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    settings.ESDB_TOPIC_ALIASES = aliases

    (message,) = found()
    assert reason in message
    assert message.count("\n") == 0
    with pytest.raises(SystemCheckError, match="ESDB_TOPIC_ALIASES cannot be used"):
        call_command("check")


def test_a_class_that_is_no_event_is_told(settings: Any) -> None:
    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    settings.ESDB_TOPIC_ALLOWLIST = [__name__]
    settings.ESDB_TOPIC_ALIASES = {OLD: f"{__name__}:Plain"}

    (message,) = found()
    assert "its class is no event or snapshot" in message


def test_the_others_hold_where_one_cannot_be_used(settings: Any) -> None:
    settings.ESDB_TOPIC_ALIASES = {OLD: DOG, "older:Dog": "gone:Dog"}

    assert [*apply_topic_aliases()] == ["older:Dog"]
    assert resolve_topic(f"{OLD}.TrickAdded") is Dog.TrickAdded


def test_what_the_code_has_registered_is_kept(settings: Any) -> None:
    register_topic("registered:Dog", Dog)

    settings.ESDB_TOPIC_ALIASES = {"registered:Dog": DOG}
    assert not apply_topic_aliases()
    settings.ESDB_TOPIC_ALIASES = {}

    assert resolve_topic("registered:Dog") is Dog


def test_they_are_registered_again_when_they_were_forgotten(settings: Any) -> None:
    settings.ESDB_TOPIC_ALIASES = {OLD: DOG}
    utils.clear_topic_cache()

    with closing(TrainingSchool({"PERSISTENCE_MODULE": "eventsourcing.popo"})):
        assert resolve_topic(OLD) is Dog
