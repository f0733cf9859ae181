from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer, ServerError
from tests.support.certificates import Certificate, make_certificate
from tests.support.client_library import (
    AccessDeniedError,
    EventStoreDBClient,
    EventStoreDBClientException,
    GrpcError,
    NewEvent,
    SSLError,
    StreamState,
    UnauthenticatedError,
)

Connect = Callable[[str], EventStoreDBClient]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for 127.0.0.1 and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificates"), "node")


@pytest.fixture
def secure_server(certificate: Certificate) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(
        tls_cert=certificate.file,
        tls_key=certificate.key_file,
        users={"admin": "changeit"},
        readers={"rex": "wööf:1"},
    ) as server:
        yield server


@pytest.fixture
def connect(
    secure_server: EmbeddedServer, certificate: Certificate
) -> Iterator[Connect]:
    clients = []

    def connect(credentials: str) -> EventStoreDBClient:
        client = EventStoreDBClient(
            secure_server.uri.replace("esdb://", f"esdb://{credentials}@"),
            root_certificates=certificate.text,
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def append_one(client: EventStoreDBClient, stream: str) -> int:
    return client.append_events(
        stream, current_version=StreamState.ANY, events=[NewEvent("T", b"{}")]
    )


def said(
    error: pytest.ExceptionInfo[EventStoreDBClientException], code: grpc.StatusCode
) -> str:
    """The server's text; of the two client libraries one has the call as well."""
    (argument,) = error.value.args
    if isinstance(argument, str):
        return argument
    assert argument.code() is code
    return str(argument.details())


def test_an_admin_may_do_everything(connect: Connect):
    client = connect("admin:changeit")
    position = append_one(client, "$system")

    assert client.get_commit_position(filter_exclude=()) == position
    client.create_subscription_to_all("group")
    assert len(client.list_subscriptions()) == 1


@pytest.mark.parametrize(
    "credentials", ["admin:wrong", "unknown:changeit", "rex:changeit", "admin:"]
)
def test_wrong_credentials_are_unauthenticated(connect: Connect, credentials: str):
    client = connect(credentials.replace("admin:", "admin:x", 1))

    for call in (
        lambda: append_one(client, "dog"),
        lambda: client.get_stream("dog"),
        lambda: client.subscribe_to_all(),
        lambda: client.list_subscriptions(),
        lambda: client.delete_stream("dog", current_version=StreamState.ANY),
    ):
        with pytest.raises(UnauthenticatedError) as error:
            call()
        assert said(error, grpc.StatusCode.UNAUTHENTICATED) == "Unauthenticated"


def test_missing_credentials_are_unauthenticated(
    secure_server: EmbeddedServer, certificate: Certificate
):
    credentials = grpc.ssl_channel_credentials(certificate.text.encode())
    with grpc.secure_channel(secure_server.target, credentials) as channel:
        call = channel.unary_unary("/event_store.client.streams.Streams/Delete")
        with pytest.raises(grpc.RpcError) as error:
            call(b"")

    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_reader_may_use_streams(connect: Connect):
    client = connect("rex:wööf:1")
    append_one(client, "dog")
    client.set_stream_metadata("dog", metadata={"$maxCount": 5})

    assert len(client.get_stream("dog")) == 1
    with client.subscribe_to_stream("dog") as subscription:
        assert next(subscription).type == "T"


def test_a_reader_may_not_read_the_whole_log_or_system_streams(connect: Connect):
    client = connect("rex:wööf:1")

    for call in (
        lambda: list(client.read_all()),
        lambda: client.subscribe_to_all(),
        lambda: client.get_commit_position(),
        lambda: client.get_stream("$settings"),
        lambda: client.create_subscription_to_stream("group", "dog"),
        lambda: client.tombstone_stream("$x", current_version=StreamState.ANY),
    ):
        with pytest.raises((GrpcError, AccessDeniedError)) as error:
            call()
        assert said(error, grpc.StatusCode.PERMISSION_DENIED) == "Access Denied"


def test_a_reader_may_not_append_to_system_streams(connect: Connect):
    client = connect("rex:wööf:1")

    with pytest.raises(AccessDeniedError):
        append_one(client, "$settings")
    with pytest.raises(AccessDeniedError):
        append_one(client, "$$$settings")


def test_a_client_without_the_certificate_is_refused(secure_server: EmbeddedServer):
    uri = secure_server.uri.replace("esdb://", "esdb://admin:changeit@")
    with EventStoreDBClient(uri) as client, pytest.raises(SSLError):
        client.get_stream("dog")


def test_passwords_are_not_shown(secure_server: EmbeddedServer):
    assert "changeit" not in repr(vars(secure_server))
    assert "changeit" not in secure_server.uri


def test_a_certificate_that_is_none_is_an_error(tmp_path: Path):
    file = tmp_path / "node.crt"
    file.write_text("no certificate")

    with pytest.raises(ServerError, match="cannot be used together"):
        EmbeddedServer(tls_cert=file, tls_key=file).start()


def test_a_certificate_that_is_missing_is_an_error(tmp_path: Path):
    file = tmp_path / "node.crt"

    with pytest.raises(ServerError, match=f"Cannot read {file}: No such file"):
        EmbeddedServer(tls_cert=file, tls_key=file).start()


def test_a_link_is_followed_as_the_real_server_does_it(connect: Connect) -> None:
    """EventStoreDB asks for the rights on the stream that is read, and no other."""
    admin, reader = connect("admin:changeit"), connect("rex:wööf:1")
    append_one(admin, "$hidden")
    admin.append_events(
        "links",
        current_version=StreamState.NO_STREAM,
        events=[NewEvent("$>", b"0@$hidden")],
    )

    with pytest.raises((AccessDeniedError, GrpcError)):
        reader.get_stream("$hidden")
    (found,) = reader.get_stream("links", resolve_links=True)

    assert found.stream_name == "$hidden"
