"""Each line of the table from what a server answers to the error that is raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)
from grpc import StatusCode

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import calls, errors, messages
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.errors import Reason, client_errors, reason_of
from tests.support.nodes import Node, node

STATUSES = [
    (StatusCode.FAILED_PRECONDITION, "", "wrong-expected-version", IntegrityError),
    (StatusCode.FAILED_PRECONDITION, "", "stream-deleted", IntegrityError),
    (StatusCode.FAILED_PRECONDITION, "else", "", ProgrammingError),
    (StatusCode.NOT_FOUND, "", "not-leader", OperationalError),
    (StatusCode.NOT_FOUND, "Leader info available", "", OperationalError),
    (StatusCode.UNKNOWN, "No leader info available in response", "", OperationalError),
    (StatusCode.NOT_FOUND, "else", "", OperationalError),
    (StatusCode.PERMISSION_DENIED, "", "access-denied", ProgrammingError),
    (StatusCode.PERMISSION_DENIED, "", "", ProgrammingError),
    (StatusCode.UNAUTHENTICATED, "", "", ProgrammingError),
    (StatusCode.INVALID_ARGUMENT, "", "maximum-append-size-exceeded", DataError),
    (StatusCode.INVALID_ARGUMENT, "", "maximum-append-event-size-exceeded", DataError),
    (StatusCode.INVALID_ARGUMENT, "", "invalid-transaction", ProgrammingError),
    (StatusCode.RESOURCE_EXHAUSTED, "", "", DataError),
    (StatusCode.DEADLINE_EXCEEDED, "", "", OperationalError),
    (StatusCode.UNAVAILABLE, "Server Is Not Ready", "", OperationalError),
    (StatusCode.UNAVAILABLE, "SSL_ERROR_SSL: no", "", ProgrammingError),
    (StatusCode.UNAVAILABLE, "empty address list: ", "", ProgrammingError),
    (StatusCode.ABORTED, "Consumer too slow", "", OperationalError),
    (StatusCode.CANCELLED, "was dropped", "", OperationalError),
    (StatusCode.UNKNOWN, "Exception was thrown by handler.", "", OperationalError),
    (StatusCode.UNKNOWN, "Unexpected ReadStreamResult", "", OperationalError),
    (StatusCode.INVALID_ARGUMENT, "invalid position", "", ProgrammingError),
    (StatusCode.INTERNAL, "broken", "", InternalError),
    (StatusCode.UNIMPLEMENTED, "", "", ProgrammingError),
]


@pytest.fixture(scope="module")
def refusing() -> Iterator[tuple[Node, Client]]:
    with node() as this:
        client = Client(parse_connection(f"esdb://{this.address}?Tls=false"))
        yield this, client
        client.close()


@pytest.mark.parametrize(("code", "details", "exception", "expected"), STATUSES)
def test_a_status_becomes_an_error(
    refusing: tuple[Node, Client],
    code: StatusCode,
    details: str,
    exception: str,
    expected: type[PersistenceError],
) -> None:
    this, client = refusing
    this.refusal = (code, details, {"exception": exception} if exception else {})
    request = messages.stream_request("x", None, backwards=False, limit=1)

    with pytest.raises(PersistenceError) as raised, client_errors("Reading"):
        list(calls.read_messages(client, request))

    assert type(raised.value) is expected
    assert str(raised.value).startswith("Reading: ")
    assert len(str(raised.value)) > len("Reading: ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("WrongExpectedVersion", Reason.WRONG_VERSION),
        ("StreamDeleted", Reason.STREAM_DELETED),
        ("AccessDenied", Reason.ACCESS_DENIED),
        ("Timeout", Reason.DEADLINE),
        ("MaximumAppendSizeExceeded", Reason.TOO_LARGE),
        ("MaximumAppendEventSizeExceeded", Reason.TOO_LARGE),
        ("Empty", Reason.NOT_READY),
        ("Unknown", Reason.REFUSED),
        ("BadRequest", Reason.REFUSED),
        ("InvalidTransaction", Reason.REFUSED),
    ],
)
def test_an_answer_to_a_batch_is_told_by_its_type(name: str, reason: Reason) -> None:
    assert errors.answer_error(name, "").reason is reason


def test_a_server_that_is_not_ready_is_asked_again() -> None:
    with pytest.raises(OperationalError, match="Saving: the server is not ready"):
        raise errors.persistence_error(errors.answer_error("Empty", ""), "Saving")


def test_the_reason_is_that_of_the_error_or_of_its_cause() -> None:
    failure = errors.CallError(Reason.ABORTED, "slow")
    error = errors.persistence_error(failure, "Reading")
    error.__cause__ = failure

    assert reason_of(failure) is reason_of(error) is Reason.ABORTED
    assert reason_of(ValueError()) is reason_of(None) is None
