"""The admin's pages of stored events: who sees what of them, and what leads where."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse
from eventsourcing.utils import get_topic

from django_esdb.admin import ReadModelAdmin, event_reading, stored_events
from django_esdb.applications import close_applications, get_application
from django_esdb.models import StoredEvent
from django_esdb.registry import registry
from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import CAUSATION_ID, CORRELATION_ID
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.admin import DogAdmin
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.catalogs import texts_left_in_english
from tests.support.event_stores import EventStore
from tests.support.projects import ROOT
from tests.support.running_stores import own_prefix, own_stream
from tests.support.stores import append

pytestmark = pytest.mark.django_db

LIST = "/admin/django_esdb/storedevent/"
EVENT = f"{LIST}event/"
CAUSE = f"{LIST}cause/"
TRICK_ADDED = get_topic(Dog.TrickAdded)
HOSTILE = "</pre><script>alert(1)</script>\u202e\"'&{{ x }}"


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait for longer, since tests share the machine."""
    monkeypatch.setattr(event_reading, "SECONDS", 60.0)


@pytest.fixture
def login(client: Client) -> Callable[..., Client]:
    """Log in with some permissions."""

    def login(*codenames: str) -> Client:
        user = User.objects.create_user(str(uuid4()), is_staff=True)
        chosen = Permission.objects.filter(codename__in=codenames)
        assert len(chosen) == len(codenames)
        user.user_permissions.add(*chosen)
        client.force_login(user)
        return client

    return login


@pytest.fixture
def viewer(login: Callable[..., Client]) -> Client:
    return login("view_storedevent")


@pytest.fixture
def reader(login: Callable[..., Client]) -> Client:
    return login("view_storedevent", "view_payload")


def cells(text: str) -> list[list[str]]:
    """Return what a list's rows say."""
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2], re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]*>", "", each)) for each in cells_of(row)]
        for row in rows
    ]


def cells_of(row: str) -> list[str]:
    return re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)


def positions(text: str) -> list[int]:
    return [int(row[2]) for row in cells(text)]


def link(text: str, label: str) -> str:
    """Return where a link leads."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(label)}</a>', text)
    assert found, label
    return unescape(found[1])


def said(response: Any) -> str:
    """Return the line that says why nothing is shown."""
    found = re.search(r'role="alert">(.*?)</p>', response.text)
    assert found, response.text
    return unescape(found[1])


def test_who_may_not_view_events_sees_none(
    school: TrainingSchool, login: Callable[..., Client]
) -> None:
    position = school.register("Fido")
    client = login("view_payload", "view_dog")
    for page in (LIST, f"{EVENT}?application=TrainingSchool&position={position}"):
        assert client.get(page).status_code == 403
    assert client.get(CAUSE).status_code == 403
    assert LIST not in client.get("/admin/").text
    client.logout()
    assert client.get(LIST).status_code == 302


def test_events_are_seen_without_what_they_say(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    with event_metadata({CORRELATION_ID: "the-order", "user": "tester-7"}):
        position = school.register("Fido Doe")

    assert LIST in viewer.get("/admin/").text
    listed = viewer.get(LIST)
    assert listed.status_code == 200
    (row,) = cells(listed.text)
    time, *rest = row
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC", time)
    stream = own_stream(server, str(Dog.create_id("Fido Doe")))
    assert rest == ["Dog.Registered", str(position), stream, "0", "event"]
    shown = viewer.get(link(listed.text, str(position)))
    assert shown.status_code == 200
    assert stream in shown.text
    assert "You may not see what it says" in shown.text
    for text in (listed.text, shown.text):
        assert "Fido Doe" not in text
        assert "the-order" not in text
        assert "tester-7" not in text
    query = f"?application=TrainingSchool&position={position}"
    assert viewer.get(CAUSE + query).status_code == 403


@pytest.mark.parametrize("kind", ["reader", "superuser"])
def test_what_an_event_says_is_shown_with_the_permission(
    school: TrainingSchool, request: pytest.FixtureRequest, kind: str
) -> None:
    client = request.getfixturevalue("reader" if kind == "reader" else "admin_client")
    with event_metadata({CORRELATION_ID: "the-order", "user": "tester-7"}):
        position = school.register("Fido Doe")

    shown = client.get(f"{EVENT}?application=TrainingSchool&position={position}")

    text = unescape(shown.text)
    assert '\n  "name": "Fido Doe"' in text
    assert "tester-7" in text
    page = link(shown.text, "the-order")
    assert page.endswith("application=TrainingSchool&stream=%24bc-the-order")
    assert client.get(page).status_code == 200


def test_nothing_can_be_changed(school: TrainingSchool, admin_client: Client) -> None:
    school.register("Fido")
    assert admin_client.post(LIST).status_code == 405
    assert admin_client.post(EVENT).status_code == 405
    for page in ("add/", "1/change/", "1/delete/"):
        assert admin_client.get(f"{LIST}{page}").status_code == 404
    text = admin_client.get(LIST).text
    main = text.partition('<div id="content"')[2]
    assert 'method="post"' not in main
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|onclick=", main)


def test_pages_follow_each_other_newest_first(
    school: TrainingSchool, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_events, "_PAGE_SIZE", 3)
    expected = [school.register("Fido")]
    expected += [school.add_trick("Fido", str(number)) for number in range(6)]
    other = school.register("Rex")

    for start, wanted in (
        (LIST, [*expected, other]),
        (f"{LIST}?stream={Dog.create_id('Fido')}", expected),
    ):
        text, found = viewer.get(start).text, []
        assert ">Newest<" not in text
        while ">Older<" in text:
            assert len(positions(text)) == 3
            found += positions(text)
            text = viewer.get(LIST + link(text, "Older")).text
        found += positions(text)
        assert found == wanted[::-1]
        newest = viewer.get(LIST + link(text, "Newest")).text
        assert positions(newest) == wanted[:-4:-1]


def test_events_are_found_by_what_is_asked_for(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    registered = school.register("Fido")
    added = school.add_trick("Fido", "sit")
    rex = school.register("Rex")
    fido = own_stream(server, str(Dog.create_id("Fido")))

    def found(**query: str) -> list[int]:
        response = viewer.get(LIST, query)
        assert response.status_code == 200
        return positions(response.text)

    assert found() == [rex, added, registered]
    assert found(stream=fido) == [added, registered]
    assert found(prefix=fido[:-28]) == [added, registered]
    assert found(topic=TRICK_ADDED) == [added]
    assert found(topic=TRICK_ADDED, stream=str(Dog.create_id("Rex"))) == []
    assert found(since="1h") == [rex, added, registered]
    assert found(since="2100-01-01") == []
    assert "There are no such events" in viewer.get(f"{LIST}?stream={uuid4()}").text
    page = link(viewer.get(LIST).text, fido)
    assert positions(viewer.get(page).text) == [added, registered]
    page = link(viewer.get(LIST).text, "Dog.TrickAdded")
    assert positions(viewer.get(page).text) == [added]


def test_a_search_that_looks_at_too_many_says_so(
    school: TrainingSchool, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_events, "_MOST_LOOKED_AT", 1)
    registered = school.register("Fido")
    for number in range(60):
        school.add_trick("Fido", str(number))
    query = {"topic": get_topic(Dog.Registered), "stream": Dog.create_id("Fido")}

    text = viewer.get(LIST, query).text

    assert "None of the events that were looked at matches" in text
    assert positions(viewer.get(LIST + link(text, "Older")).text) == [registered]


@pytest.mark.parametrize("name", ["topic", "prefix"])
def test_what_the_server_does_not_find_soon_is_looked_for_page_by_page(
    school: TrainingSchool,
    viewer: Client,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(stored_events, "_PICKING_SECONDS", 1e-9)
    monkeypatch.setattr(stored_events, "_MOST_LOOKED_AT", 1)
    registered = school.register("Rex")
    school.register("Fido")
    for number in range(60):
        school.add_trick("Fido", str(number))
    rex = own_stream(server, str(Dog.create_id("Rex")))
    query = {"topic": get_topic(Dog.Registered)} if name == "topic" else {name: rex}

    text, found = viewer.get(LIST, query).text, []
    assert "None of the events that were looked at matches" in text
    while ">Older<" in text:
        found += positions(text)
        text = viewer.get(LIST + link(text, "Older")).text

    assert (found + positions(text))[-1] == registered


@pytest.mark.own_store("it writes a stream of snapshots, whose name is no test's own")
def test_snapshots_are_told_apart(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    stream = f"snapshot-${Dog.create_id('Fido')}"
    append(server, stream, "school:Snapshot")

    (row,) = cells(viewer.get(LIST).text)

    assert row[3:] == [stream, "0", "snapshot"]
    assert cells(viewer.get(LIST, {"stream": stream}).text) == [row]


def test_links_lead_to_the_events_that_they_stand_for(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    school.register("Fido")
    position = school.add_trick("Fido", "sit")
    school.add_trick("Fido", "roll over")
    dog = Dog.create_id("Fido")
    target = own_stream(server, str(dog))
    append(server, "$bc-order", "$>", f"1@{target}".encode())

    listed = reader.get(LIST, {"stream": own_stream(server, "$bc-order")})

    (row,) = cells(listed.text)
    assert row[1] == "$>"
    assert positions(reader.get(link(listed.text, "link")).text)[0] == position


def test_causes_are_found(school: TrainingSchool, reader: Client) -> None:
    cause = school.register("Fido")
    text = reader.get(f"{EVENT}?application=TrainingSchool&position={cause}").text
    event_id = re.search(r"<dt>Event ID</dt><dd>(.*?)</dd>", text)
    assert event_id
    with event_metadata({CAUSATION_ID: event_id[1]}):
        effect = school.register("Rex")
    with event_metadata({CAUSATION_ID: str(uuid4())}):
        other = school.register("Luna")

    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={effect}")
    led = reader.get(link(shown.text, event_id[1]))

    assert led.headers["location"].endswith(f"position={cause}")
    page = f"{CAUSE}?application=TrainingSchool&position="
    assert "which has caused this one, is not among" in said(
        reader.get(f"{page}{other}")
    )
    assert said(reader.get(f"{page}{cause}")) == (
        "What has caused this event is not known."
    )


def test_rows_of_read_models_lead_to_their_events_and_back(
    school: TrainingSchool, login: Callable[..., Client]
) -> None:
    position = school.register("Fido")
    row = DogRow.objects.create(id=Dog.create_id("Fido"), name="Fido Doe", tricks=[])
    form = reverse("admin:training_school_dog_change", args=[row.pk])
    client = login("view_storedevent", "view_dog")

    listed = client.get(link(client.get(form).text, "Events"))

    assert positions(listed.text) == [position]
    assert link(listed.text, "dog: Fido Doe") == form
    shown = client.get(link(listed.text, str(position)))
    assert link(shown.text, "dog: Fido Doe") == form
    client = login("view_dog")
    assert ">Events<" not in client.get(form).text
    client = login("view_storedevent")
    assert "Fido Doe" not in client.get(f"{LIST}?stream={row.pk}").text


class DogByName(ReadModelAdmin):
    """Says which aggregate a row is of, though that is not its key."""

    def event_stream(self, obj: Any) -> str:
        return str(Dog.create_id(obj.name))

    def row_of_stream(self, request: HttpRequest, stream: str) -> DogRow | None:
        # Raises an error for what is no UUID.
        self.model._meta.pk.to_python(stream)
        return next(
            (row for row in DogRow.objects.all() if self.event_stream(row) == stream),
            None,
        )


def test_a_class_says_which_aggregate_its_rows_are_of(
    school: TrainingSchool,
    server: EmbeddedServer,
    login: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("event_stream", "row_of_stream"):
        monkeypatch.setattr(DogAdmin, name, getattr(DogByName, name))
    position = school.register("Fido")
    row = DogRow.objects.create(id=uuid4(), name="Fido", tricks=[])
    form = reverse("admin:training_school_dog_change", args=[row.pk])
    client = login("view_storedevent", "view_dog")

    listed = client.get(link(client.get(form).text, "Events"))

    assert positions(listed.text) == [position]
    assert link(listed.text, "dog: Fido") == form
    append(server, "no-uuid", "X")
    other = client.get(f"{LIST}?stream=no-uuid")
    assert len(cells(other.text)) == 1


def test_an_application_with_a_prefix_shows_its_own_streams(
    server: EmbeddedServer, settings: Any, login: Callable[..., Client]
) -> None:
    settings.ESDB_URI = server.uri
    prefix = own_prefix(server, "school")
    settings.ESDB_ENV = {"EVENTSTOREDB_STREAM_PREFIX": prefix}
    client = login("view_storedevent", "view_payload", "view_dog")
    other = append(server, "other-x", "X", b'{"name": "s3cret"}')
    append(server, "snapshot-$other-x", "X")
    try:
        position = get_application(TrainingSchool).register("Fido")
        fido = Dog.create_id("Fido")
        row = DogRow.objects.create(id=fido, name="Fido", tricks=[])

        for query in ("", f"?stream={fido}", f"?stream={prefix}-{fido}"):
            listed = client.get(f"{LIST}{query}")
            assert [row[2:4] for row in cells(listed.text)] == [
                [str(position), f"{prefix}-{fido}"]
            ]
        form = reverse("admin:training_school_dog_change", args=[row.pk])
        assert link(listed.text, "dog: Fido") == form
        for page in (
            f"{LIST}?stream=snapshot-$other-x",
            f"{EVENT}?application=TrainingSchool&position={other}",
        ):
            response = client.get(page)
            assert said(response) == "This is no stream of the application."
            assert "s3cret" not in response.text
    finally:
        close_applications()


def test_stored_text_breaks_no_page(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    stream = f"x{HOSTILE}"
    append(server, stream, HOSTILE, b'["</pre><script>alert(1)"]')

    listed = reader.get(LIST)
    (row,) = cells(listed.text)
    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={row[2]}")

    for response in (listed, shown):
        assert response.status_code == 200
        assert "<script>alert" not in response.text
        assert "&lt;script&gt;" in response.text
        assert "<bdi>" in response.text
    own = own_stream(server, "x")
    page = link(listed.text, re.findall(rf">(<bdi>{own}.*?</bdi>)<", listed.text)[0])
    assert cells(reader.get(page).text) == [row]


def test_what_cannot_be_read_says_why(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    append(server, "x", "X", b"\x00\xff")
    position = positions(reader.get(LIST).text)[0]

    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={position}")

    assert "It cannot be read: UnicodeDecodeError" in shown.text
    assert "2 bytes" in shown.text


def test_how_events_are_stored_is_marked(
    server: EmbeddedServer, settings: Any, reader: Client
) -> None:
    settings.ESDB_URI = server.uri
    settings.ESDB_ENV = {
        "COMPRESSOR_TOPIC": "zlib",
        "CIPHER_TOPIC": "eventsourcing.cipher:AESCipher",
        "CIPHER_KEY": "MDEyMzQ1Njc4OTAxMjM0NQ==",
    }
    position = get_application(TrainingSchool).register("Fido")
    try:
        shown = reader.get(f"{EVENT}?application=TrainingSchool&position={position}")
    finally:
        close_applications()

    for mark in ("compressed", "encrypted"):
        assert f"<strong>{mark}</strong>" in shown.text
    assert "Fido" in shown.text


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("since=yesterday", "This is no time, such as 2026-11-26T09:30"),
        ("before=x", "Enter a whole number."),
        ("before=99999999999999999999", "less than or equal to"),
        ("before=-1", "greater than or equal to 0"),
        ("application=Nope", "Select a valid choice."),
        ("stream=x&prefix=y", "not both."),
        ("stream=%24users", "own streams are not shown"),
        ("stream=%24user-admin", "own streams are not shown"),
        ("topic=a%00b", "Null characters are not allowed."),
    ],
)
def test_what_makes_no_sense_gets_a_line(
    school: TrainingSchool, viewer: Client, query: str, line: str
) -> None:
    school.register("Fido")

    response = viewer.get(f"{LIST}?{query}")

    assert response.status_code == 200
    assert line in response.text
    assert not cells(response.text)


def test_where_no_event_is_that_is_said(school: TrainingSchool, viewer: Client) -> None:
    position = school.register("Fido")
    name = "application=TrainingSchool"
    for query in (f"{name}&position=x", name, f"{name}&position={10**18}"):
        line = said(viewer.get(f"{EVENT}?{query}"))
        assert line == "There is no event at this position."
    for page in (
        f"{EVENT}?{name}&position={position + 1}",
        f"{EVENT}?{name}&position={2**63}",
    ):
        assert said(viewer.get(page)) == "There is no event at this position."
    gone = viewer.get(f"{EVENT}?application=Nope&position={position}")
    assert said(gone) == "There is no such application."


@pytest.mark.own_store("it writes into a stream of the server's own")
def test_what_eventstoredb_keeps_for_itself_is_not_shown(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    position = append(server, "$user-admin", "$User", b'{"hash": "s3cret"}')
    query = f"application=TrainingSchool&position={position}"

    response = reader.get(f"{EVENT}?{query}")

    assert said(response) == "This is no stream of the application."
    assert "s3cret" not in response.text


@pytest.mark.parametrize("end", [EventStore.kill, EventStore.freeze])
def test_a_store_that_is_away_gets_a_page_that_says_so(
    store: EventStore,
    school: TrainingSchool,
    reader: Client,
    end: Callable[[EventStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    position = school.register("Fido")
    event = f"{EVENT}?application=TrainingSchool&position={position}"
    assert reader.get(LIST).status_code == reader.get(event).status_code == 200

    end(store)
    monkeypatch.setattr(event_reading, "SECONDS", 0.5)

    for page in (LIST, event, event.replace(EVENT, CAUSE)):
        response = reader.get(page)
        assert response.status_code == 503
        assert said(response).startswith("The event store cannot be used now")
    close_applications()
    response = reader.get(LIST)
    assert response.status_code == 503
    assert "Traceback" not in response.text


def test_settings_that_cannot_be_used_get_a_line(settings: Any, viewer: Client) -> None:
    settings.ESDB_URI = "esdb://"

    response = viewer.get(LIST)

    assert response.status_code == 200
    assert said(response)


def test_without_projections_no_application_is_known(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registry", {})

    response = viewer.get(LIST)

    assert response.status_code == 200
    assert not cells(response.text)


@pytest.mark.parametrize("language", ["de", "fr"])
def test_no_text_is_left_in_english(
    school: TrainingSchool,
    server: EmbeddedServer,
    login: Callable[..., Client],
    language: str,
) -> None:
    reader = login("view_storedevent", "view_payload", "view_dog")
    with event_metadata({CORRELATION_ID: "order"}):
        position = school.register("Fido")
    row = DogRow.objects.create(id=Dog.create_id("Fido"), name="Fido", tricks=[])
    append(server, "snapshot-$x", "school:Summary")
    file = ROOT / "django_esdb" / "locale" / language / "LC_MESSAGES" / "django.po"

    for page in (
        LIST,
        f"{LIST}?stream={row.pk}",
        f"{LIST}?stream=none",
        f"{LIST}?since=yesterday",
        f"{LIST}?stream=x&prefix=y",
        f"{EVENT}?application=TrainingSchool&position={position}",
        f"{EVENT}?application=TrainingSchool&position=x",
        f"{CAUSE}?application=TrainingSchool&position={position}",
        reverse("admin:training_school_dog_change", args=[row.pk]),
    ):
        response = reader.get(page, headers={"accept-language": language})
        assert response.status_code == 200
        assert f'lang="{language}"' in response.text
        assert not texts_left_in_english(response.text, file), page


def test_no_database_is_asked_for_them(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert not StoredEvent.objects.exists()
        assert list(StoredEvent._base_manager.iterator()) == []
    # It asks models without a table, too.
    call_command("dumpdata", "django_esdb", "--all", stdout=io.StringIO())
