"""Turning the engine's values into the protocol's messages."""

from __future__ import annotations

import uuid
from typing import Any

from eventsourcing_eventstoredb.server.engine.appends import Appended
from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent
from eventsourcing_eventstoredb.server.engine.subscriptions import Checkpoint, Sign
from eventsourcing_eventstoredb.server.errors import WrongExpectedVersionError
from eventsourcing_eventstoredb.server.services.messages import shared, streams
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    Record,
)

_EMPTY = shared.Empty()
_UNSIGNED_MAX = 2**64 - 1
_CONTENT_TYPES = ("application/octet-stream", "application/json")


def encode_uuid(value: bytes, *, structured: bool) -> Any:
    """Write a UUID in one of its two forms."""
    if not structured:
        return shared.UUID(string=_hyphenated(value))
    return shared.UUID(
        structured=shared.UUID.Structured(
            most_significant_bits=int.from_bytes(value[:8], "big", signed=True),
            least_significant_bits=int.from_bytes(value[8:], "big", signed=True),
        )
    )


def _hyphenated(value: bytes) -> str:
    # As ``str(UUID(bytes=value))``, which takes five times as long.
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def write_record(record: Record, message: Any, *, structured: bool) -> None:
    """
    Write a recorded event into an empty message.

    Set field by field: made as arguments of constructors, parts are copied into what
    they are parts of, which takes twice the time, for each event that is read.

    Args:
        message: Of either service's class.
    """
    if structured:
        message.id.CopyFrom(encode_uuid(record.id, structured=True))
    else:
        message.id.string = _hyphenated(record.id)
    message.stream_identifier.stream_name = record.stream.encode("utf-8", "replace")
    message.stream_revision = record.number
    message.prepare_position = message.commit_position = record.position
    metadata = message.metadata
    metadata["type"] = record.type
    metadata["created"] = str(record.created)
    metadata["content-type"] = _CONTENT_TYPES[bool(record.is_json)]
    message.custom_metadata = record.custom_metadata
    message.data = record.data


def encode_stream_name(stream: str) -> Any:
    """Write a stream's name."""
    return shared.StreamIdentifier(stream_name=stream.encode("utf-8", "replace"))


def encode_event(resolved: ResolvedEvent, *, structured: bool) -> Any:
    """Write an event that was read."""
    answer = streams.ReadResp()
    event = answer.event
    event.commit_position = resolved.original.position
    if resolved.event is not None:
        write_record(resolved.event, event.event, structured=structured)
    if resolved.link is not None:
        write_record(resolved.link, event.link, structured=structured)
    return answer


def encode_sign(sign: Sign) -> Any:
    """Write that a subscription is confirmed, or has caught up."""
    if sign is Sign.CAUGHT_UP:
        return streams.ReadResp(caught_up=streams.ReadResp.CaughtUp())
    return streams.ReadResp(
        confirmation=streams.ReadResp.SubscriptionConfirmation(
            subscription_id=str(uuid.uuid4())
        )
    )


def encode_checkpoint(checkpoint: Checkpoint) -> Any:
    """Write how far a subscription has looked."""
    return streams.ReadResp(
        checkpoint=streams.ReadResp.Checkpoint(
            commit_position=checkpoint.commit_position,
            prepare_position=checkpoint.prepare_position,
        )
    )


def encode_stream_not_found(stream: str) -> Any:
    """Write that a stream does not exist."""
    return streams.ReadResp(
        stream_not_found=streams.ReadResp.StreamNotFound(
            stream_identifier=encode_stream_name(stream)
        )
    )


def encode_appended(appended: Appended) -> Any:
    """Write where an append has brought the stream."""
    success = streams.AppendResp.Success()
    write_appended(success, appended)
    return streams.AppendResp(success=success)


def write_appended(success: Any, appended: Appended) -> None:
    """
    Write the same into a message, of whichever kind of append it is.

    These have messages of different classes for what is empty.
    """
    if appended.last_number == NO_STREAM:
        success.no_stream.SetInParent()
    else:
        success.current_revision = appended.last_number
    if appended.position is None:
        success.no_position.SetInParent()
    else:
        success.position.commit_position = appended.position
        success.position.prepare_position = appended.position


def encode_wrong_version(error: WrongExpectedVersionError) -> Any:
    """
    Write that an append found the stream somewhere else, in new and in old fields.
    """
    wrong = streams.AppendResp.WrongExpectedVersion()
    if error.current == NO_STREAM:
        wrong.current_no_stream.CopyFrom(_EMPTY)
        wrong.no_stream_20_6_0.CopyFrom(_EMPTY)
    else:
        wrong.current_revision = error.current
        wrong.current_revision_20_6_0 = error.current
    if error.expected == ANY:
        wrong.expected_any.CopyFrom(_EMPTY)
        wrong.any_20_6_0.CopyFrom(_EMPTY)
    elif error.expected == STREAM_EXISTS:
        wrong.expected_stream_exists.CopyFrom(_EMPTY)
        wrong.stream_exists_20_6_0.CopyFrom(_EMPTY)
    elif error.expected == NO_STREAM:
        wrong.expected_no_stream.CopyFrom(_EMPTY)
        wrong.expected_revision_20_6_0 = _UNSIGNED_MAX
    else:
        wrong.expected_revision = error.expected
        wrong.expected_revision_20_6_0 = error.expected
    return streams.AppendResp(wrong_expected_version=wrong)
