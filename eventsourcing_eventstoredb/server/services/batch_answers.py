"""Answers to batches of events: what was written, or why nothing was."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, empty_pb2

from eventsourcing_eventstoredb.server.engine.appends import Appended
from eventsourcing_eventstoredb.server.errors import (
    HandlerError,
    InvalidArgumentError,
    MaximumAppendSizeError,
    ProtocolError,
    StorageError,
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.services.access import AccessDeniedError
from eventsourcing_eventstoredb.server.services.encoding import write_appended
from eventsourcing_eventstoredb.server.services.messages import (
    codes,
    shared,
    status,
    streams,
)
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
)

_EMPTY = empty_pb2.Empty()


class BatchTimeoutError(Exception):
    """A batch was not complete in time."""


def outcome_answer(correlation_id: Any, identifier: Any, outcome: Any) -> Any:
    """
    Return the answer to a batch; an exception if it has to end the call.

    Args:
        correlation_id: The batch's, in the form that its client uses.
        identifier: Its stream's, as it was asked for.
        outcome: What has become of it: :class:`Appended`, or an exception.
    """
    if isinstance(outcome, Appended):
        return _success_answer(correlation_id, identifier, outcome)
    if isinstance(outcome, ProtocolError) and not isinstance(outcome, StorageError):
        return error_answer(correlation_id, identifier, outcome)
    return outcome


def _success_answer(correlation_id: Any, identifier: Any, appended: Appended) -> Any:
    success = streams.BatchAppendResp.Success()
    write_appended(success, appended)
    return streams.BatchAppendResp(
        correlation_id=correlation_id, stream_identifier=identifier, success=success
    )


def error_answer(correlation_id: Any, identifier: Any, error: Exception) -> Any:
    """Return the answer to a batch of which nothing is written."""
    code, message, details = _describe(error, identifier)
    packed = any_pb2.Any()
    packed.Pack(details)
    return streams.BatchAppendResp(
        correlation_id=correlation_id,
        stream_identifier=identifier,
        error=status.Status(code=code, message=message, details=packed),
    )


def _describe(error: Exception, identifier: Any) -> tuple[Any, str, Any]:
    match error:
        case WrongExpectedVersionError():
            return codes.ALREADY_EXISTS, "WrongExpectedVersion", _wrong_version(error)
        case StreamDeletedError():
            details = shared.StreamDeleted(stream_identifier=identifier)
            return codes.NOT_FOUND, "StreamDeleted", details
        case MaximumAppendSizeError():
            details = shared.MaximumAppendSizeExceeded(
                maxAppendSize=error.maximum_bytes
            )
            return codes.INVALID_ARGUMENT, "MaximumAppendSizeExceeded", details
        case AccessDeniedError():
            return codes.PERMISSION_DENIED, "AccessDenied", shared.AccessDenied()
        case HandlerError():
            details = shared.BadRequest(message=error.reason)
            return codes.INVALID_ARGUMENT, "BadRequest", details
        case InvalidArgumentError():
            text = f'Status(StatusCode="InvalidArgument", Detail="{error.details}")'
            return codes.INVALID_ARGUMENT, "BadRequest", shared.BadRequest(message=text)
        case BatchTimeoutError():
            return codes.DEADLINE_EXCEEDED, "Timeout", shared.Timeout()
    return codes.UNKNOWN, "Unknown", shared.Unknown()


def _wrong_version(error: WrongExpectedVersionError) -> Any:
    wrong = shared.WrongExpectedVersion()
    if error.current == NO_STREAM:
        wrong.current_no_stream.CopyFrom(_EMPTY)
    else:
        wrong.current_stream_revision = error.current
    if error.expected == ANY:
        wrong.expected_any.CopyFrom(_EMPTY)
    elif error.expected == STREAM_EXISTS:
        wrong.expected_stream_exists.CopyFrom(_EMPTY)
    elif error.expected == NO_STREAM:
        wrong.expected_no_stream.CopyFrom(_EMPTY)
    else:
        wrong.expected_stream_position = error.expected
    return wrong
