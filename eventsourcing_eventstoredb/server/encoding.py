"""Turning the engine's values into the protocol's messages."""

from __future__ import annotations

import uuid
from typing import Any

from eventsourcing_eventstoredb.server.appends import Appended
from eventsourcing_eventstoredb.server.errors import WrongExpectedVersionError
from eventsourcing_eventstoredb.server.links import ResolvedEvent
from eventsourcing_eventstoredb.server.messages import shared, streams
from eventsourcing_eventstoredb.server.records import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    Record,
)
from eventsourcing_eventstoredb.server.subscriptions import Checkpoint, Sign

_EMPTY = shared.Empty()
_UNSIGNED_MAX = 2**64 - 1


def encode_uuid(value: bytes, *, structured: bool) -> Any:
    """Write a UUID in one of its two forms."""
    if not structured:
        return shared.UUID(string=str(uuid.UUID(bytes=value)))
    return shared.UUID(
        structured=shared.UUID.Structured(
            most_significant_bits=int.from_bytes(value[:8], "big", signed=True),
            least_significant_bits=int.from_bytes(value[8:], "big", signed=True),
        )
    )


def encode_record(record: Record, message_class: Any, *, structured: bool) -> Any:
    """
    Write a recorded event.

    Args:
        message_class: The class of the message, which differs between services.
    """
    return message_class(
        id=encode_uuid(record.id, structured=structured),
        stream_identifier=encode_stream_name(record.stream),
        stream_revision=record.number,
        prepare_position=record.position,
        commit_position=record.position,
        metadata={
            "type": record.type,
            "created": str(record.created),
            "content-type": "application/json"
            if record.is_json
            else "application/octet-stream",
        },
        custom_metadata=record.custom_metadata,
        data=record.data,
    )


def encode_stream_name(stream: str) -> Any:
    """Write a stream's name."""
    return shared.StreamIdentifier(stream_name=stream.encode("utf-8", "replace"))


def encode_event(resolved: ResolvedEvent, *, structured: bool) -> Any:
    """Write an event that was read."""
    message_class = streams.ReadResp.ReadEvent.RecordedEvent
    event, link = (
        None
        if record is None
        else encode_record(record, message_class, structured=structured)
        for record in (resolved.event, resolved.link)
    )
    return streams.ReadResp(
        event=streams.ReadResp.ReadEvent(
            event=event, link=link, commit_position=resolved.original.position
        )
    )


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
    if appended.last_number == NO_STREAM:
        success.no_stream.CopyFrom(_EMPTY)
    else:
        success.current_revision = appended.last_number
    if appended.position is None:
        success.no_position.CopyFrom(_EMPTY)
    else:
        success.position.commit_position = appended.position
        success.position.prepare_position = appended.position
    return streams.AppendResp(success=success)


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
