from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    JSONTranscoder,
    Mapper,
    MapperDeserialisationError,
    Notification,
    StoredEvent,
)
from eventsourcing.utils import get_topic, register_topic

from eventsourcing_eventstoredb.factory import _warn_that_topics_are_free
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.topics.allowlist import (
    AllowlistMapper,
    TopicAllowlist,
    TopicNotAllowedError,
)

HERE = __name__


class Counter(Aggregate):
    INITIAL_VERSION = 0
    total = 0

    @event("Increased")
    def increase(self) -> None:
        self.total += 1


class Other(Aggregate):
    INITIAL_VERSION = 0


class Counters(Application[UUID]):
    is_snapshotting_enabled = True


class Shouting(Mapper[Any]):
    """A project's own mapper."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        domain_event = super().to_domain_event(stored_event)
        domain_event.__dict__["shouted"] = True
        return domain_event


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that should not be imported, inside a package."""
    package = f"package_{uuid4().hex}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "mine.py").write_text("class Event:\n    pass\n")
    (folder / "lazy.py").write_text(
        f"from importlib import import_module\n"
        f"def __getattr__(name):\n"
        f"    return import_module('{package}.mine')\n"
    )
    (folder / "allowed.py").write_text(
        "import subprocess\n"
        f"from {package} import lazy\n"
        "class Event:\n    class Inner:\n        pass\n"
        "def function():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield f"{package}.mine"
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("entry", "topic", "permitted"),
    [
        (HERE, f"{HERE}:Counter.Increased", True),
        (HERE.rpartition(".")[0], f"{HERE}:Counter.Increased", True),
        (f"{HERE}:Counter", f"{HERE}:Counter.Increased", True),
        (f"{HERE}:Counter", f"{HERE}:Counter", True),
        (f"{HERE}:Counter.Increased", f"{HERE}:Counter.Increased", True),
        (f"{HERE}:Counter.Increased", f"{HERE}:Counter", False),
        (f"{HERE}:Counter", f"{HERE}:Counters", False),
        (f"{HERE}:Counter", f"{HERE}:Other.Created", False),
        (HERE[:-1], f"{HERE}:Counter", False),
        (f"{HERE}x", f"{HERE}:Counter", False),
        (HERE, HERE, False),
        (HERE, f"{HERE}:uuid4", False),
        (HERE, f"{HERE}:sys.exit", False),
        (HERE, f"{HERE}:UUID", False),
        (HERE, f"{HERE}:Counter.total", False),
        (HERE, f"{HERE}:json.JSONDecoder", False),
        (HERE, "os:system", False),
        (HERE, "", False),
        (HERE, ":", False),
        (HERE, "..", False),
    ],
)
def test_a_topic_and_its_class_have_to_be_in_the_list(
    entry: str, topic: str, permitted: bool
) -> None:
    allowlist = TopicAllowlist([entry])

    assert allowlist.permits(topic) is permitted
    assert allowlist.permits(topic) is permitted


def test_what_is_not_allowed_is_not_imported(mine: str) -> None:
    assert not TopicAllowlist(["other"]).permits(f"{mine}:Event")
    assert not TopicAllowlist([f"{mine}r"]).permits(f"{mine}:Event")
    assert mine not in sys.modules
    assert mine.partition(".")[0] not in sys.modules


def test_an_allowed_module_is_no_way_to_another_one(mine: str) -> None:
    allowed = mine.replace("mine", "allowed")
    allowlist = TopicAllowlist([allowed])

    assert allowlist.permits(f"{allowed}:Event.Inner")
    assert not allowlist.permits(f"{allowed}:subprocess.Popen")
    assert not allowlist.permits(f"{allowed}:function")
    assert not allowlist.permits(f"{allowed}:lazy.anything.Event")
    assert mine not in sys.modules


def test_an_old_name_is_allowed_if_it_and_the_class_are() -> None:
    register_topic("gone.module:Counter", Counter)
    old = "gone.module:Counter.Increased"

    assert TopicAllowlist(["gone.module", f"{HERE}:Counter"]).permits(old)
    assert not TopicAllowlist([HERE]).permits(old)
    assert not TopicAllowlist(["gone.module"]).permits(old)


def test_an_explicit_topic_is_allowed_if_it_and_the_class_are() -> None:
    register_topic("counted", Other)

    assert TopicAllowlist(["counted", HERE]).permits("counted")
    assert not TopicAllowlist(["counted"]).permits("counted")
    assert not TopicAllowlist([HERE]).permits("counted")


def test_classes_inside_functions_are_found() -> None:
    class Local(Aggregate):
        pass

    topic = get_topic(Local)

    assert "<locals>" in topic
    assert TopicAllowlist([HERE]).permits(topic)


@pytest.mark.parametrize(
    "entries",
    [[], [""], ["a b"], ["a,b"], ["a:"], [".a"], ["a..b"], ["a\n"], ["*"], ["a.*"]],
    ids=repr,
)
def test_a_malformed_list_is_refused(entries: list[str]) -> None:
    with pytest.raises(ValueError, match=r"names nothing|neither a module nor a topic"):
        TopicAllowlist(entries)


def stored(topic: str, /, **state: Any) -> Notification:
    return Notification(uuid4(), 3, topic, json.dumps(state).encode(), 77)


def mapper(*entries: str) -> AllowlistMapper:
    return AllowlistMapper(Mapper(JSONTranscoder()), TopicAllowlist(entries))


def test_the_error_is_a_line_that_says_where_and_what_to_do() -> None:
    hostile = stored("os:system\n\x1b[2J")

    with pytest.raises(TopicNotAllowedError) as raised:
        mapper(HERE).to_domain_event(hostile)

    text = str(raised.value)
    assert isinstance(raised.value, DataError)
    assert text.isprintable()
    for part in (
        r"Topic 'os:system\n\x1b[2J' is not allowed",
        str(hostile.originator_id),
        "version 3",
        "position 77",
        "ESDB_TOPIC_ALLOWLIST",
    ):
        assert part in text


def test_a_topic_inside_of_a_first_event_has_to_be_allowed(mine: str) -> None:
    first = stored(f"{HERE}:Counter.Created", originator_topic=f"{mine}:Event")

    with pytest.raises(TopicNotAllowedError, match=f"Topic '{mine}:Event' is not"):
        mapper(HERE).to_domain_event(first)
    assert mine not in sys.modules


def test_a_topic_inside_of_a_snapshot_has_to_be_allowed(mine: str) -> None:
    snapshot = stored("eventsourcing.domain:Snapshot", topic=f"{mine}:Event", state={})

    with pytest.raises(TopicNotAllowedError, match=f"Topic '{mine}:Event' is not"):
        mapper(HERE).to_domain_event(snapshot)
    assert mine not in sys.modules


@pytest.fixture
def env(server: EmbeddedServer) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": server.uri,
        "MAPPER_TOPIC": f"{HERE}:Shouting",
    }


def test_an_application_reads_what_is_allowed_and_nothing_else(
    env: dict[str, str],
) -> None:
    counter = Counter()
    counter.increase()
    with closing(Counters(env)) as open_one:
        open_one.save(counter)
        open_one.take_snapshot(counter.id)
        counter.increase()
        open_one.save(counter)

    allowing = {**env, "EVENTSTOREDB_TOPIC_ALLOWLIST": f"other {HERE}:Counter,third"}
    with closing(Counters(allowing)) as application:
        assert application.repository.get(counter.id).total == 2
        assert application.repository.get(counter.id, version=1).total == 1
        [*_, last] = application.events.get(counter.id)
        assert last.__dict__["shouted"]
        other = Other()
        application.save(other)
        with pytest.raises(TopicNotAllowedError, match=f"Topic '{HERE}:Other"):
            application.repository.get(other.id)

    refusing = {**env, "COUNTERS_EVENTSTOREDB_TOPIC_ALLOWLIST": f"{HERE}:Other"}
    with (
        closing(Counters(refusing)) as application,
        pytest.raises(TopicNotAllowedError, match=f"Topic '{HERE}:Counter"),
    ):
        application.repository.get(counter.id)


def test_a_foreign_topic_is_not_imported_to_learn_the_type_of_its_ids(
    env: dict[str, str], mine: str
) -> None:
    allowing = {**env, "EVENTSTOREDB_TOPIC_ALLOWLIST": HERE}
    with closing(Counters(allowing)) as application:
        foreign = StoredEvent(uuid4(), 0, f"{mine}:Event", b"{}")
        application.recorder.insert_events([foreign])
        [notification] = application.recorder.select_notifications(None, 10)
        with application.recorder.subscribe() as subscription:
            assert next(subscription).topic == notification.topic
        with pytest.raises(TopicNotAllowedError):
            application.mapper.to_domain_event(notification)
    assert mine not in sys.modules


@pytest.mark.parametrize("text", [",", " ", "a:,b"])
def test_a_malformed_variable_is_refused(env: dict[str, str], text: str) -> None:
    with pytest.raises(
        InfrastructureFactoryError, match=r"^EVENTSTOREDB_TOPIC_ALLOWLIST (has|names)"
    ):
        Counters({**env, "EVENTSTOREDB_TOPIC_ALLOWLIST": text})


def test_without_a_list_only_events_are_made_and_a_warning_is_logged(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    _warn_that_topics_are_free.cache_clear()
    with closing(Counters(env)) as application, closing(Counters(env)):
        hostile = StoredEvent(uuid4(), 0, "logging:FileHandler", b"{}")
        application.recorder.insert_events([hostile])
        counter = Counter()
        application.save(counter)

        assert application.repository.get(counter.id).total == 0
        with pytest.raises(TopicNotAllowedError, match="no event or snapshot"):
            application.repository.get(hostile.originator_id)

    assert caplog.text.count("EVENTSTOREDB_TOPIC_ALLOWLIST is not set") == 1


def test_an_unknown_special_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="'@apps'"):
        TopicAllowlist(["@apps"])


def test_the_transcoder_makes_objects_of_registered_transcodings_only() -> None:
    hostile = stored(
        f"{HERE}:Counter.Increased",
        x={"_type_": "subprocess:Popen", "_data_": ["true"]},
    )

    with pytest.raises(MapperDeserialisationError, match="subprocess:Popen"):
        mapper(HERE).to_domain_event(hostile)
