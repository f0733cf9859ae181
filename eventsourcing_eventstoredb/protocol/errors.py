"""
From what gRPC and the server say to the errors of the ``eventsourcing`` library.

Whether trying again can help decides the class: OperationalError says yes,
ProgrammingError, DataError and IntegrityError say no. Texts are made here and
repeat the server's details, never a connection string, since that may hold a
password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, unique
from types import TracebackType
from typing import Any

import grpc
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.exceptions import PositionRefusedError
from eventsourcing_eventstoredb.text import one_line

_TOMBSTONED = "the stream is tombstoned and its name cannot be used again"
_CERTIFICATE = (
    "the server's certificate was not accepted; check EVENTSTOREDB_ROOT_CERTIFICATES, "
    "and that the server speaks TLS: {}"
)
_UNKNOWN_USER = (
    "the server does not know this user name and password; check them in "
    "EVENTSTOREDB_URI"
)
_MAY_NOT = (
    "the user may not do this; give EVENTSTOREDB_URI a user with the permission "
    "(reading all streams takes an administrator)"
)


_POSITION = "the server refused the position, where perhaps no event begins: {}"


@unique
class Reason(Enum):
    """
    Why a call failed: the class of the error that is raised, and what it says.

    What the server or gRPC said takes the place of ``{}``.
    """

    UNAVAILABLE = OperationalError, "{}"
    NOT_READY = OperationalError, "the server is not ready"
    NOT_LEADER = OperationalError, "the server that was asked is not the leader: {}"
    NO_NODE = OperationalError, "no node of the cluster can be used: {}"
    DEADLINE = OperationalError, "no answer in time: {}"
    ABORTED = OperationalError, "the server broke it off: {}"
    CANCELLED = (
        OperationalError,
        "cut short, since the client was closed or reconnected",
    )
    CLOSED = OperationalError, "the client was closed: {}"
    WRONG_VERSION = IntegrityError, "{}"
    STREAM_DELETED = IntegrityError, _TOMBSTONED
    TOO_LARGE = DataError, "more than the server takes at once: {}"
    CERTIFICATE = ProgrammingError, _CERTIFICATE
    UNAUTHENTICATED = ProgrammingError, _UNKNOWN_USER
    ACCESS_DENIED = ProgrammingError, _MAY_NOT
    # With one code, and in words that differ between servers, a node says that it
    # knows no leader, or was asked for what only a leader can do, or failed.
    UNKNOWN = OperationalError, "the server failed: {}"
    # With the same code a server refuses a position in the log; see position_error.
    POSITION = PositionRefusedError, _POSITION
    INVALID_ARGUMENT = ProgrammingError, "the server calls it invalid: {}"
    INTERNAL = InternalError, "{}"
    REFUSED = ProgrammingError, "{}"

    def __init__(self, raised: type[PersistenceError], says: str) -> None:
        self.raised = raised
        self.says = says


_Code = grpc.StatusCode

# The first line that fits counts: a status code, the name that the server gives to the
# exception, in a trailer or as the type of an answer to a batch, and what is in a text
# of gRPC's own. None and "" fit everything. Texts of servers differ, and tell nothing.
_TABLE: tuple[tuple[grpc.StatusCode | None, str | None, str, Reason], ...] = (
    (None, "wrong-expected-version", "", Reason.WRONG_VERSION),
    (None, "stream-deleted", "", Reason.STREAM_DELETED),
    (None, "not-leader", "", Reason.NOT_LEADER),
    # A stream that is not there is no error, but a message.
    (_Code.NOT_FOUND, None, "", Reason.NOT_LEADER),
    (None, "access-denied", "", Reason.ACCESS_DENIED),
    (_Code.PERMISSION_DENIED, None, "", Reason.ACCESS_DENIED),
    (_Code.UNAUTHENTICATED, None, "", Reason.UNAUTHENTICATED),
    (None, "maximum-append-size-exceeded", "", Reason.TOO_LARGE),
    (None, "maximum-append-event-size-exceeded", "", Reason.TOO_LARGE),
    # Beyond the limit of a message, the server does not even see it.
    (_Code.RESOURCE_EXHAUSTED, None, "", Reason.TOO_LARGE),
    (None, "timeout", "", Reason.DEADLINE),
    (_Code.DEADLINE_EXCEEDED, None, "", Reason.DEADLINE),
    # What a batch is answered while the server starts, or has too much to do.
    (None, "empty", "", Reason.NOT_READY),
    # No repetition can cure these.
    (_Code.UNAVAILABLE, None, "SSL_ERROR", Reason.CERTIFICATE),
    # A certificate text that is no PEM, in older versions of gRPC and in newer ones.
    (_Code.UNAVAILABLE, None, "empty address list", Reason.CERTIFICATE),
    (_Code.UNAVAILABLE, None, "security handshaker", Reason.CERTIFICATE),
    (_Code.UNAVAILABLE, None, "", Reason.UNAVAILABLE),
    (_Code.ABORTED, None, "", Reason.ABORTED),
    (_Code.CANCELLED, None, "", Reason.CANCELLED),
    (_Code.UNKNOWN, None, "", Reason.UNKNOWN),
    (_Code.INVALID_ARGUMENT, None, "", Reason.INVALID_ARGUMENT),
    (_Code.INTERNAL, None, "", Reason.INTERNAL),
    (None, None, "", Reason.REFUSED),
)


class CallError(Exception):
    """
    A call that failed.

    Attributes:
        reason: Why.
        details: What the server or gRPC said, in one line.
        leader: Where the leader is, as ``host:port``, if the server told.
        last_position: Where a stream is that is not where it was expected to be: the
            position of its last event, also of one that was deleted; None if it never
            had any.
    """

    def __init__(
        self,
        reason: Reason,
        details: str = "",
        leader: str | None = None,
        last_position: int | None = None,
    ) -> None:
        self.reason = reason
        self.details = one_line(details) if details else ""
        self.leader = leader
        self.last_position = last_position
        super().__init__(self.details or reason.name)

    @property
    def is_outage(self) -> bool:
        """Whether the servers are to blame, and may not be soon."""
        return self.reason.raised is OperationalError and self.reason not in (
            Reason.CANCELLED,
            Reason.CLOSED,
        )


class client_errors:  # noqa: N801  (as contextlib names its own)
    """
    Raise what a call raises in the block as one of the library's errors.

    Its cause is the :class:`CallError`. A class, since a save passes two: one that is
    made of a generator takes three times as long.

    Args:
        subject: What was being done, to begin the message with, such as
            ``Reading stream 'x'``.
    """

    __slots__ = ("_subject",)

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = None if error is None else _failure(error)
        if failure is not None:
            raise persistence_error(failure, self._subject) from failure


def _failure(error: BaseException) -> CallError | None:
    """Return why a call failed that raised an error; None if no call raises it."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, grpc.RpcError):
        failure = call_error(error)
    elif isinstance(error, ValueError):
        # What gRPC raises for a channel that is closed; else what cannot be used.
        reason = Reason.CLOSED if "hannel" in str(error) else Reason.REFUSED
        failure = CallError(reason, str(error))
    else:
        return None
    failure.__cause__ = error
    return failure


def persistence_error(error: CallError, subject: str) -> PersistenceError:
    """Return the library's error for a call that failed."""
    reason = error.reason
    said = error.details or reason.name.lower().replace("_", " ")
    return reason.raised(f"{subject}: {reason.says.format(said)}")


def call_error(error: grpc.RpcError) -> CallError:
    """Return why the call failed."""
    if not isinstance(error, grpc.Call):
        return CallError(Reason.REFUSED, str(error))
    trailers = dict(error.trailing_metadata() or ())
    return status_error(error.code(), str(error.details() or ""), trailers)


def status_error(
    code: grpc.StatusCode, details: str, trailers: Mapping[str, Any]
) -> CallError:
    """
    Return why a call ended.

    Args:
        code: Its status.
        details: The status' text.
        trailers: What the server sent with it.
    """
    reason = _reason(code, _text(trailers.get("exception", "")), details)
    leader = None
    if "leader-endpoint-host" in trailers:
        host = _text(trailers["leader-endpoint-host"])
        leader = f"{host}:{_text(trailers.get('leader-endpoint-port'))}"
    return CallError(reason, details, leader)


def position_error(error: CallError) -> CallError:
    """
    Return why a call failed at once that was to begin at a position in the log.

    A failure of the server is then an answer to the position, though it may come from
    a node that cannot answer now: in a cluster it is worth asking again.
    """
    if error.reason not in (Reason.UNKNOWN, Reason.INVALID_ARGUMENT):
        return error
    refused = CallError(Reason.POSITION, error.details, error.leader)
    refused.__cause__ = error.__cause__
    return refused


def answer_error(name: str, details: str) -> CallError:
    """
    Return why a batch was not appended.

    Args:
        name: Name of the message that the answer holds, such as ``AccessDenied``.
        details: What it says.
    """
    spelt_as_trailer = re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower()
    return CallError(_reason(None, spelt_as_trailer, details), details)


def reason_of(error: BaseException | None) -> Reason | None:
    """Return why the call failed that an error comes from; None if from none."""
    cause = error if isinstance(error, CallError) else getattr(error, "__cause__", None)
    return cause.reason if isinstance(cause, CallError) else None


def _reason(code: grpc.StatusCode | None, name: str | None, details: str) -> Reason:
    return next(
        reason
        for wanted_code, wanted_name, text, reason in _TABLE
        if wanted_code in (None, code)
        and wanted_name in (None, name)
        and text in details
    )


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
