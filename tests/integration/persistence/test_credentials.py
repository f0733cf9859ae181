"""Who calls, where that is not a name and a password over TLS."""

from __future__ import annotations

import gc
import weakref
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from eventsourcing.persistence import ProgrammingError

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.metadata import metadata_from
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.services.access import Users
from tests.support.certificates import Certificate, make_certificate
from tests.support.client_library import EventStoreDBClient
from tests.support.supervising import wait_until


class WithoutTls(EmbeddedServer):
    """Asks for passwords without TLS, as KurrentDB 26.2 does with DisableTls."""

    def __init__(self) -> None:
        super().__init__()
        self._users = Users({"admin": "p@ss:1"})


class WithUsersCertificates(EmbeddedServer):
    """Takes connections of one user's certificate only."""

    def __init__(self, own: Certificate, user: Certificate) -> None:
        super().__init__(tls_cert=own.file, tls_key=own.key_file)
        self._user = user.text.encode()

    def _load_credentials(self) -> grpc.ServerCredentials | None:
        assert self._tls_cert is not None
        assert self._tls_key is not None
        pair = (self._tls_key.read_bytes(), self._tls_cert.read_bytes())
        return grpc.ssl_server_credentials([pair], self._user, require_client_auth=True)


def position(uri: str, **env: str) -> int | None:
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": uri, **env})
    try:
        recorder = factory.application_recorder()
        # What users call themselves is sent the same.
        factory.client.get_commit_position()
        return recorder.max_notification_id()
    finally:
        factory.close()


@pytest.mark.parametrize("scheme", ["esdb", "kurrentdb"])
def test_without_tls_an_address_with_a_user_has_the_password_sent(scheme: str) -> None:
    with WithoutTls() as server:
        host = f"{server.target}?tls=false"

        position(f"{scheme}://admin:p%40ss%3A1@{host}")
        position(f"{scheme}://admin@{host}", EVENTSTOREDB_PASSWORD="p@ss:1")
        for uri in (f"{scheme}://{host}", f"{scheme}://admin:wrong@{host}"):
            env = {"EVENTSTOREDB_USERNAME": "admin", "EVENTSTOREDB_PASSWORD": "p@ss:1"}
            factory = EventStoreDBFactory(
                {"EVENTSTOREDB_URI": uri, **(env if "wrong" not in uri else {})}
            )
            with pytest.raises(ProgrammingError, match="does not know this user name"):
                factory.application_recorder().max_notification_id()
            factory.close()


def test_the_same_holds_for_any_client() -> None:
    with WithoutTls() as server:
        uri = f"esdb://admin:p%40ss%3A1@{server.target}?Tls=false"
        with EventStoreDBClient(uri) as client:
            EventStoreDBApplicationRecorder(client).max_notification_id()


@pytest.mark.parametrize("is_users", [False, True], ids=["factory's", "any client"])
def test_who_logs_in_keeps_nothing_alive_of_the_request_that_was_first(
    tmp_path: Path, is_users: bool
) -> None:
    class Request:
        def metadata(self) -> dict[str, str]:
            return {"user": "7"}

    made = make_certificate(tmp_path, "own")
    with EmbeddedServer(
        tls_cert=made.file, tls_key=made.key_file, users={"admin": "changeit"}
    ) as server:
        uri = f"esdb://admin:changeit@{server.target}?TlsCaFile={made.file}"
        request = Request()
        kept = weakref.ref(request)
        factory = EventStoreDBFactory({"EVENTSTOREDB_URI": uri})

        def is_gone() -> bool:
            gc.collect()
            return kept() is None

        with closing(factory), EventStoreDBClient(uri) as client:
            with metadata_from(request.metadata):
                recorder = (
                    EventStoreDBApplicationRecorder(client)
                    if is_users
                    else factory.application_recorder()
                )
                recorder.max_notification_id()
            del request

            wait_until(is_gone)


@pytest.mark.parametrize("credentials", ["", "admin:changeit@"])
def test_a_users_certificate_is_shown_to_the_server(
    tmp_path: Path, credentials: str
) -> None:
    own, user = (make_certificate(tmp_path, name) for name in ("own", "user"))
    with WithUsersCertificates(own, user) as server:
        position(
            f"esdb://{credentials}{server.target}"
            f"?userCertFile={user.file}&userKeyFile={user.key_file}",
            EVENTSTOREDB_ROOT_CERTIFICATES=own.text,
        )
