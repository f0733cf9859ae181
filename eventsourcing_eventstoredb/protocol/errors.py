"""
From esdbclient's exceptions to those of the ``eventsourcing`` library.

Whether trying again can help decides the class: OperationalError says yes,
ProgrammingError, DataError and IntegrityError say no. Texts are made here and
repeat the server's details, never a connection string, since that may hold a
password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from esdbclient import exceptions as esdb
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.protocol.calls import client_exception
from eventsourcing_eventstoredb.text import one_line

_TRANSIENT = (
    esdb.ServiceUnavailable,
    esdb.NodeIsNotLeader,
    esdb.GrpcDeadlineExceeded,
    esdb.AppendDeadlineExceeded,
    esdb.AbortedByServer,
    esdb.ConsumerTooSlow,
    esdb.CancelledByClient,
    esdb.DiscoveryFailed,
    esdb.LeaderNotFound,
    esdb.FollowerNotFound,
    esdb.ReadOnlyReplicaNotFound,
)


@contextmanager
def client_errors(subject: str) -> Iterator[None]:
    """
    Raise what the client raises inside as one of the library's errors.

    Args:
        subject: What was being done, to begin the message with, such as
            ``Reading stream 'x'``.
    """
    try:
        yield
    except (esdb.EventStoreDBClientException, grpc.RpcError, ValueError) as error:
        raise persistence_error(error, subject) from error


def persistence_error(error: Exception, subject: str) -> PersistenceError:
    """Return the library's error for what the client raised."""
    if isinstance(error, PersistenceError):
        return error
    if isinstance(error, grpc.RpcError):
        error = client_exception(error)
    details = error_details(error)
    if isinstance(error, esdb.WrongCurrentVersion):
        return IntegrityError(f"{subject}: {details}")
    if isinstance(error, esdb.StreamIsDeleted):
        return IntegrityError(
            f"{subject}: the stream is tombstoned and its name cannot be used again"
        )
    # A subclass of ServiceUnavailable that no repetition can cure.
    if isinstance(error, esdb.SSLError):
        return ProgrammingError(
            f"{subject}: the server's certificate was not accepted; check "
            f"EVENTSTOREDB_ROOT_CERTIFICATES, and that the server speaks TLS: {details}"
        )
    if status_code(error) is grpc.StatusCode.CANCELLED:
        return OperationalError(
            f"{subject}: cut short, since the client was closed or reconnected"
        )
    if isinstance(error, _TRANSIENT) or type(error) is esdb.EventStoreDBClientException:
        # The bare class is what a server that is still starting comes out as.
        return OperationalError(f"{subject}: {details or 'the server is not ready'}")
    return _permanent_error(error, subject, details)


def _permanent_error(error: Exception, subject: str, details: str) -> PersistenceError:
    code = status_code(error)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return ProgrammingError(
            f"{subject}: the server does not know this user name and password; "
            "check them in EVENTSTOREDB_URI"
        )
    if (
        isinstance(error, esdb.AccessDeniedError)
        or code is grpc.StatusCode.PERMISSION_DENIED
    ):
        return ProgrammingError(
            f"{subject}: the user may not do this; give EVENTSTOREDB_URI a user "
            "with the permission (reading all streams takes an administrator)"
        )
    if (
        isinstance(error, esdb.MaximumAppendSizeExceededError)
        or code is grpc.StatusCode.RESOURCE_EXHAUSTED
    ):
        return DataError(f"{subject}: more than the server takes at once: {details}")
    if isinstance(error, esdb.InternalError):
        return InternalError(f"{subject}: {details}")
    if isinstance(error, ValueError) and "hannel" in details:
        return OperationalError(f"{subject}: the client was closed: {details}")
    return ProgrammingError(f"{subject}: {details or type(error).__name__}")


def _grpc_error(error: BaseException) -> grpc.Call | None:
    candidate = error.args[0] if error.args else None
    for item in (error, candidate):
        if isinstance(item, grpc.RpcError) and isinstance(item, grpc.Call):
            return item
    return None


def status_code(error: BaseException | None) -> grpc.StatusCode | None:
    """Return the status that the call ended with, None if there was none."""
    if error is None:
        return None
    call = _grpc_error(error)
    return call.code() if call is not None else None


def error_details(error: Exception) -> str:
    """Return in one line what the server or the client said."""
    call = _grpc_error(error)
    text = str(call.details() or "") if call is not None else str(error)
    return one_line(text)
