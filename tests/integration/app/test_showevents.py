"""What ``manage.py showevents`` shows of stored events."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from eventsourcing.utils import get_topic

from django_esdb.applications.shared import close_applications, get_application
from django_esdb.management.commands import showevents
from django_esdb.registry import Registration, registry
from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.event_stores import EventStore
from tests.support.running_stores import own_prefix, own_stream
from tests.support.stores import append
from tests.support.supervising import wait_until

REGISTERED = get_topic(Dog.Registered)
TRICK_ADDED = get_topic(Dog.TrickAdded)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")


class Output(io.StringIO):
    """What a command writes; ends it when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = threading.Event()

    def flush(self) -> None:
        if self.is_over.is_set():
            raise KeyboardInterrupt


def show(*arguments: str) -> tuple[list[str], str]:
    """Run the command; return its lines, and what it says on standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command("showevents", *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


def shown(*arguments: str) -> Any:
    return json.loads("\n".join(show(*arguments, "--json")[0]))


def tricks(events: Any) -> list[str]:
    return [event["payload"].get("trick", "") for event in events]


@contextmanager
def following(*arguments: str) -> Iterator[Output]:
    """Run the command until the end of the block; it continues with what comes."""
    out, err = Output(), io.StringIO()
    thread = threading.Thread(
        target=call_command,
        args=("showevents", "--follow", *arguments),
        kwargs={"stdout": out, "stderr": err},
    )
    thread.start()
    try:
        yield out
    finally:
        out.is_over.set()
        thread.join(60)
    assert not thread.is_alive()


def test_the_last_events_are_shown_oldest_first(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    school.register("Fido")
    positions = [school.add_trick("Fido", trick) for trick in ("sit", "roll over")]
    dog = own_stream(server, str(Dog.create_id("Fido")))

    lines, said = show("--limit", "2")

    assert said == "Older events are left out: there are more than 2\n"
    heads, places, payloads = lines[0::3], lines[1::3], lines[2::3]
    assert [head.split("  ")[1] for head in heads] == [TRICK_ADDED] * 2
    assert [place.split(", ")[:2] for place in places] == [
        [f"    {dog} @ {version}", f"position {position}"]
        for version, position in zip((1, 2), positions, strict=True)
    ]
    assert [
        json.loads(each.partition("payload ")[2])["trick"] for each in payloads
    ] == [
        "sit",
        "roll over",
    ]
    assert show("--limit", "3")[1] == ""


def test_json_has_all_of_them(school: TrainingSchool, server: EmbeddedServer) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    with event_metadata(user="7"):
        position = school.register("Fido")

    (event,) = shown()

    assert before < datetime.fromisoformat(event.pop("time"))
    assert event.pop("payload")["name"] == "Fido"
    assert len(event.pop("id")) == 36
    assert event == {
        "position": position,
        "stream": own_stream(server, str(Dog.create_id("Fido"))),
        "stream_position": 0,
        "kind": "event",
        "topic": REGISTERED,
        "metadata": {"user": "7"},
        "stored_as": [],
        "problem": "",
    }


def test_no_events_are_none(school: TrainingSchool) -> None:
    assert show() == (["There are no such events."], "")
    assert shown() == []
    assert shown("--stream", str(uuid4())) == []


def test_events_are_found_by_stream_and_prefix(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    for name in ("Fido", "Rex"):
        school.register(name)
        school.add_trick(name, f"{name} sits")
    fido = own_stream(server, str(Dog.create_id("Fido")))

    of_fido = shown("--stream", fido)
    assert tricks(of_fido) == ["", "Fido sits"]
    assert shown("--prefix", fido[:-28]) == of_fido
    assert shown("--prefix", "no such stream") == []
    (last,) = shown("--stream", fido, "--limit", "1")
    assert last == of_fido[-1]
    with pytest.raises(CommandError, match="--stream or --prefix, not both"):
        show("--stream", fido, "--prefix", fido)


def test_events_are_found_by_topic_also_far_back(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    school.register("Fido")
    for number in range(30):
        school.add_trick("Fido", f"trick {number}")
    fido = own_stream(server, str(Dog.create_id("Fido")))

    for where in ([], ["--stream", fido], ["--prefix", fido]):
        (found,) = shown("--topic", REGISTERED, "--limit", "1", *where)
        assert found["payload"]["name"] == "Fido"
        both = shown("--topic", REGISTERED, "--topic", TRICK_ADDED, *where)
        assert len(both) == 31
        # It is no expression, and not the beginning of one.
        assert shown("--topic", TRICK_ADDED[:-1], *where) == []


@pytest.mark.parametrize("where", ["all", "stream"])
def test_events_are_found_by_time(school: TrainingSchool, where: str) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    times = [datetime.fromisoformat(each["time"]) for each in shown()]
    place = ["--stream", str(Dog.create_id("Fido"))] if where == "stream" else []

    assert len(shown("--since", times[0].isoformat(), *place)) == 2
    assert tricks(shown("--since", times[1].isoformat(), *place)) == ["sit"]
    assert shown("--since", (times[1] + timedelta(days=1)).isoformat(), *place) == []
    assert len(shown("--since", "2h", *place)) == 2
    local = timezone.localtime(times[0]) - timedelta(hours=1)
    assert len(shown("--since", f"{local:%Y-%m-%dT%H:%M}", *place)) == 2
    yesterday = local - timedelta(days=1)
    assert len(shown("--since", f"{yesterday:%Y-%m-%d}", *place)) == 2


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--since", "yesterday", "is no time"),
        ("--since", "2026-13-01", "is no time"),
        ("--since", "999999w", "is no time"),
        ("--limit", "0", "is no whole number from 1"),
        ("--limit", "many", "is no whole number from 1"),
        ("--limit", "9" * 5000, "is no whole number from 1"),
        ("--stream", "\udcff", "is no character of UTF-8"),
        ("--prefix", "\udcff", "is no character of UTF-8"),
        ("--topic", "\udcff", "is no character of UTF-8"),
    ],
)
def test_wrong_values_are_refused(
    school: TrainingSchool, option: str, value: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        show(option, value)


def test_stored_text_cannot_disguise_itself(school: TrainingSchool) -> None:
    school.register("Fido\x1b[31m\n\u202eevil")

    for options in ([], ["--full"]):
        text = "\n".join(show(*options)[0])
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "Fido" in text
    assert shown()[0]["payload"]["name"] == "Fido\x1b[31m\n\u202eevil"


def test_lines_fit_the_terminal_and_full_shows_all(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a dog " * 60
    school.register(name)

    payload = show()[0][2]
    assert len(payload) <= 80
    assert "[...]" in payload
    lines = [line.strip() for line in show("--full")[0]]
    assert any(json.dumps(name) in line for line in lines)


def test_snapshots_are_told_apart(
    school: TrainingSchool, server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_ENV = {"IS_SNAPSHOTTING_ENABLED": "y"}
    close_applications()
    school = get_application(TrainingSchool)
    school.register("Fido")
    fido = Dog.create_id("Fido")
    school.take_snapshot(fido)

    event, snapshot = shown()
    assert (event["kind"], snapshot["kind"]) == ("event", "snapshot")
    of_snapshots = f"snapshot-${own_stream(server, str(fido))}"
    assert snapshot["stream"] == of_snapshots
    assert shown("--stream", str(fido)) == [event]
    assert shown("--stream", of_snapshots) == [snapshot]
    assert "snapshot " in show("--stream", of_snapshots)[0][0]


def test_compressed_and_encrypted_are_marked(
    school: TrainingSchool, settings: Any
) -> None:
    school.register("Rex")
    settings.ESDB_ENV = {
        "COMPRESSOR_TOPIC": "zlib",
        "CIPHER_TOPIC": "eventsourcing.cipher:AESCipher",
        "CIPHER_KEY": "MDEyMzQ1Njc4OTAxMjM0NQ==",
    }
    close_applications()
    get_application(TrainingSchool).register("Fido")

    plain, hidden = shown()
    # What was stored before is read all the same.
    assert (plain["payload"]["name"], plain["stored_as"]) == ("Rex", [])
    assert hidden["payload"]["name"] == "Fido"
    assert hidden["stored_as"] == ["encrypted", "compressed"]
    assert "payload (encrypted, compressed) {" in "\n".join(show()[0])

    settings.ESDB_ENV = {}
    hidden = shown()[-1]
    assert hidden["payload"] is None
    assert hidden["problem"]
    assert "bytes that cannot be read" in "\n".join(show()[0])


def test_what_others_have_written_is_shown_and_no_class_is_made_of_it(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    append(server, str(uuid4()), "subprocess:Popen", b'{"args": "true"}')
    append(server, str(uuid4()), "no.module:Thing", b"\xff\x00")

    popen, thing = shown()

    assert popen["payload"] == {"args": "true"}
    assert thing["payload"] is None
    assert thing["problem"]


def test_an_application_shows_its_own_streams_only(
    school: TrainingSchool, server: EmbeddedServer, settings: Any
) -> None:
    school.register("Fido")
    prefix = own_prefix(server, "kennel")
    settings.ESDB_ENV = {"EVENTSTOREDB_STREAM_PREFIX": prefix}
    close_applications()
    get_application(TrainingSchool).register("Rex")

    (event,) = shown()
    assert event["stream"] == f"{prefix}-{Dog.create_id('Rex')}"
    assert shown("--stream", str(Dog.create_id("Rex"))) == [event]
    assert shown("--stream", f"{prefix}-{Dog.create_id('Rex')}") == [event]
    fido = own_stream(server, str(Dog.create_id("Fido")))
    assert shown("--prefix", fido[:-31]) == []


def test_those_that_come_are_shown_one_after_the_other(
    school: TrainingSchool, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showevents, "_FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(showevents, "_FOLLOW_PAGE", 3)
    school.register("Fido")
    fido = own_stream(server, str(Dog.create_id("Fido")))
    with (
        following("--json") as all_of_them,
        following("--json", "--stream", fido, "--topic", TRICK_ADDED) as some,
    ):
        wait_until(lambda: all_of_them.getvalue().count("\n") == 1)
        school.register("Rex")
        for number in range(10):
            school.add_trick("Fido", f"trick {number}")
            school.add_trick("Rex", f"trick {number}")
        wait_until(lambda: all_of_them.getvalue().count("\n") == 22)
        wait_until(lambda: some.getvalue().count("\n") == 10)

    wanted = [f"trick {number}" for number in range(10)]
    found = [json.loads(line) for line in all_of_them.getvalue().splitlines()]
    positions = [each["position"] for each in found]
    assert positions == sorted(set(positions))
    assert tricks(each for each in found if each["stream"] == fido) == ["", *wanted]
    assert tricks(map(json.loads, some.getvalue().splitlines())) == wanted


def test_following_rides_over_an_outage(
    store: EventStore, school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showevents, "_FOLLOW_SECONDS", 0.01)
    school.register("Fido")
    with following("--json") as out:
        wait_until(lambda: out.getvalue().count("\n") == 1)
        store.kill()
        store.start()
        school.add_trick("Fido", "sit")
        wait_until(lambda: out.getvalue().count("\n") == 2)

    assert tricks(map(json.loads, out.getvalue().splitlines())) == ["", "sit"]


def test_an_unknown_application_is_refused(school: TrainingSchool) -> None:
    with pytest.raises(
        CommandError, match="There is no application 'Kennel'"
    ) as raised:
        show("Kennel")
    assert raised.value.returncode == 2


def test_an_application_that_is_kept_elsewhere_is_refused(settings: Any) -> None:
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    settings.ESDB_URI = "esdb://127.0.0.1:1?Tls=false"

    with pytest.raises(CommandError, match="elsewhere than in EventStoreDB") as raised:
        show()
    assert raised.value.returncode == 2


def test_where_there_are_several_applications_one_is_named(
    school: TrainingSchool,
    registration: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Kennel(TrainingSchool):
        pass

    class Dogs(TrainingSchoolProjection):
        name = "Dogs"

    class DogsView(TrainingSchoolView):
        read_models = ()

    other = registration(
        projection_class=Dogs, application_class=Kennel, view_class=DogsView
    )
    monkeypatch.setitem(registry._registry, "Dogs", other)

    with pytest.raises(CommandError, match="name one: Kennel, TrainingSchool"):
        show()
    assert show("Kennel") == (["There are no such events."], "")


def test_a_store_out_of_reach_is_one_line(
    store: EventStore, school: TrainingSchool
) -> None:
    store.kill()

    with pytest.raises(CommandError, match="the event store's address is") as raised:
        show()
    assert raised.value.returncode == 1
