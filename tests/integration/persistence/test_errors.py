"""Each cause of an error, for real, on everything that an application does."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
    StoredEvent,
)

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.protocol import retrying
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.certificates import Certificate, make_certificate
from tests.support.event_stores import EventStore, server_process

PASSWORD = "p@ss/w:rd? ä%"
KNOWN_ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")

Connect = Callable[..., EventStoreDBApplicationRecorder]
Call = Callable[[EventStoreDBApplicationRecorder], object]


def stored(originator_id: UUID, first: int = 0, size: int = 2) -> list[StoredEvent]:
    return [StoredEvent(originator_id, first, "topic", b"x" * size)]


CALLS: dict[str, Call] = {
    "append to a new stream": lambda r: r.insert_events(stored(uuid4())),
    "append to a stream": lambda r: r.insert_events(stored(KNOWN_ID, 1)),
    "read a stream": lambda r: r.select_events(KNOWN_ID),
    "read all streams": lambda r: r.select_notifications(None, 9),
    "read backwards": lambda r: r.max_notification_id(),
    "subscribe": lambda r: r.subscribe(),
    "subscribe after": lambda r: r.subscribe(gt=1),
    "pass over": lambda r: r.passed_over_position(None),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "server")


@pytest.fixture
def secure_server(certificate: Certificate) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(
        tls_cert=certificate.file,
        tls_key=certificate.key_file,
        users={"admin": PASSWORD},
        readers={"rex": PASSWORD},
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.1)


@pytest.fixture
def connect() -> Iterator[Connect]:
    factories: list[EventStoreDBFactory] = []

    def connect(uri: str, **env: str) -> EventStoreDBApplicationRecorder:
        env = {f"EVENTSTOREDB_{key.upper()}": value for key, value in env.items()}
        factories.append(EventStoreDBFactory({"EVENTSTOREDB_URI": uri} | env))
        recorder = factories[-1].application_recorder()
        assert isinstance(recorder, EventStoreDBApplicationRecorder)
        return recorder

    yield connect
    for factory in factories:
        factory.close()


@pytest.fixture
def as_user(
    secure_server: EmbeddedServer, certificate: Certificate, connect: Connect
) -> Connect:
    def as_user(username: str, password: str, **env: str) -> object:
        env = {"root_certificates": certificate.text} | env
        return connect(secure_server.uri, username=username, password=password, **env)

    return as_user


def raised_by(call: Call, recorder: EventStoreDBApplicationRecorder) -> Exception:
    with pytest.raises(PersistenceError) as raised:
        call(recorder)
    whole_text = "".join(traceback.format_exception(raised.value, chain=True))
    assert PASSWORD not in whole_text
    return raised.value


def test_credentials_of_any_characters_work(as_user: Connect) -> None:
    recorder = as_user("admin", PASSWORD)
    recorder.insert_events(stored(KNOWN_ID))

    assert len(recorder.select_events(KNOWN_ID)) == 1
    with recorder.subscribe() as subscription:
        assert next(subscription).originator_id == KNOWN_ID


def test_certificate_may_be_a_path(as_user: Connect, certificate: Certificate) -> None:
    recorder = as_user("admin", PASSWORD, root_certificates=str(certificate.file))

    assert recorder.select_events(KNOWN_ID) == []


@pytest.mark.parametrize("name", CALLS)
def test_wrong_password(as_user: Connect, name: str) -> None:
    recorder = as_user("admin", "wrong")

    error = raised_by(CALLS[name], recorder)

    assert isinstance(error, ProgrammingError)
    assert "does not know this user name and password" in str(error)


@pytest.mark.parametrize("name", [n for n in CALLS if "stream" not in n])
def test_user_who_may_not_read_all_streams(as_user: Connect, name: str) -> None:
    error = raised_by(CALLS[name], as_user("rex", PASSWORD))

    assert isinstance(error, ProgrammingError)
    assert "takes an administrator" in str(error)


def test_user_who_may_not_read_all_streams_can_run_an_application(
    as_user: Connect,
) -> None:
    recorder = as_user("rex", PASSWORD)
    recorder.insert_events(stored(KNOWN_ID))
    recorder.insert_events(stored(KNOWN_ID, 1))

    assert len(recorder.select_events(KNOWN_ID)) == 2


def test_user_who_may_not_append(as_user: Connect) -> None:
    recorder = as_user("rex", PASSWORD)
    recorder.for_snapshotting = True
    recorder.layout = type(
        "SystemStreams",
        (type(recorder.layout),),
        {"snapshots_stream_name": lambda self, originator_id: f"$x-{originator_id}"},
    )()

    error = raised_by(lambda r: r.insert_events(stored(KNOWN_ID)), recorder)

    assert isinstance(error, ProgrammingError)
    assert "the user may not do this" in str(error)


@pytest.mark.parametrize("name", CALLS)
def test_certificate_of_another_authority(
    secure_server: EmbeddedServer, connect: Connect, tmp_path: Path, name: str
) -> None:
    recorder = connect(
        secure_server.uri,
        username="admin",
        password=PASSWORD,
        root_certificates=make_certificate(tmp_path, "other").text,
    )

    error = raised_by(CALLS[name], recorder)

    assert isinstance(error, ProgrammingError)
    assert "check EVENTSTOREDB_ROOT_CERTIFICATES" in str(error)


@pytest.mark.parametrize("name", CALLS)
def test_certificate_that_is_none(
    secure_server: EmbeddedServer, connect: Connect, name: str
) -> None:
    recorder = connect(
        secure_server.uri,
        username="admin",
        password=PASSWORD,
        root_certificates="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----",
    )

    error = raised_by(CALLS[name], recorder)

    assert isinstance(error, ProgrammingError)
    assert "certificate" in str(error)


@pytest.mark.parametrize("name", CALLS)
def test_tls_spoken_to_a_server_without_it(
    server: EmbeddedServer, connect: Connect, certificate: Certificate, name: str
) -> None:
    recorder = connect(
        server.uri.replace("false", "true"),
        username="admin",
        password=PASSWORD,
        root_certificates=certificate.text,
    )

    error = raised_by(CALLS[name], recorder)

    assert isinstance(error, ProgrammingError)
    assert "that the server speaks TLS" in str(error)


@pytest.mark.parametrize("name", CALLS)
def test_server_that_cannot_be_reached(connect: Connect, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    recorder = connect(f"esdb://127.0.0.1:{port}?Tls=false")

    assert isinstance(raised_by(CALLS[name], recorder), OperationalError)


def test_cluster_that_cannot_be_discovered(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(OperationalError, match=f"127.0.0.1:{port}"):
        connect(
            f"esdb://127.0.0.1:{port},127.0.0.1:{port}?Tls=false&MaxDiscoverAttempts=1"
        )


@pytest.mark.parametrize("name", [n for n in CALLS if "subscribe" not in n])
def test_frozen_server_ends_in_a_deadline(
    store: EventStore, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(retrying, "READ_DEADLINE", 0.2)
    monkeypatch.setattr(
        "eventsourcing_eventstoredb.streams.appending.DEFAULT_DEADLINE", 0.2
    )
    recorder = connect(store.uri)
    store.freeze()

    error = raised_by(CALLS[name], recorder)

    assert isinstance(error, OperationalError)


def test_save_that_is_too_large(connect: Connect) -> None:
    size = 2_000

    with EmbeddedServer(max_append_size=1_999) as server:
        error = raised_by(
            lambda r: r.insert_events(stored(KNOWN_ID, 0, size)), connect(server.uri)
        )

    assert isinstance(error, DataError)
    text = str(error)
    assert "Appending 1 event to" in text
    assert str(KNOWN_ID) in text
    assert f"{size} bytes" in text
    assert "at most 1999 bytes" in text


def test_message_that_is_too_large(server: EmbeddedServer, connect: Connect) -> None:
    """Beyond what gRPC takes, the server does not even see it."""
    size = 20 * 1024 * 1024

    error = raised_by(
        lambda r: r.insert_events(stored(KNOWN_ID, 0, size)), connect(server.uri)
    )

    assert isinstance(error, DataError)
    assert f"{size} bytes" in str(error)
    assert str(KNOWN_ID) in str(error)


def test_conflict_says_stream_and_both_versions(
    server: EmbeddedServer, connect: Connect
) -> None:
    recorder = connect(server.uri)
    recorder.insert_events(stored(KNOWN_ID))

    for version, expected, actual in ((0, "new stream", 0), (5, "at version 4", 0)):
        events = stored(KNOWN_ID, version)
        error = raised_by(lambda r, events=events: r.insert_events(events), recorder)
        assert isinstance(error, IntegrityError)
        assert f"{KNOWN_ID}'" in str(error)
        assert expected in str(error)
        assert f"last event is {actual}" in str(error)


def test_revoked_credentials_end_a_subscription_at_once(
    certificate: Certificate, tmp_path: Path, connect: Connect
) -> None:
    options = (
        *("--data", str(tmp_path / "events.db"), "--tls-cert", str(certificate.file)),
        *("--tls-key", str(certificate.key_file), "--user"),
    )
    with server_process(*options, f"admin:{PASSWORD}") as uri:
        recorder = connect(
            uri,
            username="admin",
            password=PASSWORD,
            root_certificates=certificate.text,
        )
        subscription = recorder.subscribe()
    port = recorder.client.connection_target.rpartition(":")[2]
    with (
        server_process(*options, "admin:new", port=port),
        subscription,
        pytest.raises(ProgrammingError, match="user name and password"),
    ):
        next(subscription)
