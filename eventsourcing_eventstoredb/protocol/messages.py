"""Requests to EventStoreDB's streams, and what its answers say; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, answer_error
from eventsourcing_eventstoredb.protocol.generated import gossip, shared, streams
from eventsourcing_eventstoredb.protocol.proposals import (
    Appended,
    ProposedEvent,
    StreamState,
)

Options = streams.ReadReq.Options
Filter = Options.FilterOptions

# Events that the server looks at before it reports progress: with the client's
# own 30, passing over what does not match takes three times as long.
_WINDOW = 2000
_CHECKPOINT_MULTIPLIER = 5

_EMPTY = shared.Empty()
_GOOGLE_EMPTY = Empty()

# The names that NodePreference has for what a node is.
_NODE_STATES = {
    gossip.MemberInfo.VNodeState.Leader: "leader",
    gossip.MemberInfo.VNodeState.Follower: "follower",
    gossip.MemberInfo.VNodeState.ReadOnlyReplica: "readonlyreplica",
}


def stream_request(
    name: str, position: int | None, *, backwards: bool, limit: int
) -> streams.ReadReq:
    """
    Return the request to read a stream.

    Args:
        name: The stream's name.
        position: Where to begin, inclusive; None for the end that the
            direction begins at.
        backwards: Whether to read towards the first event.
        limit: Most events to read.
    """
    stream = Options.StreamOptions(
        stream_identifier=shared.StreamIdentifier(stream_name=name.encode())
    )
    if position is not None:
        stream.revision = position
    elif backwards:
        stream.end.CopyFrom(_EMPTY)
    else:
        stream.start.CopyFrom(_EMPTY)
    return _request(backwards, None, stream=stream, count=limit)


def all_request(
    position: int | None,
    *,
    backwards: bool,
    limit: int,
    server_filter: Filter | None = None,
) -> streams.ReadReq:
    """
    Return the request to read all streams.

    Args:
        position: Commit position to begin at, inclusive forwards and exclusive
            backwards; None for the end that the direction begins at.
        backwards: Whether to read towards the first event.
        limit: Most events to read that match.
        server_filter: What matches; None for everything.
    """
    everything = _all_options(position, at_end=backwards)
    return _request(backwards, server_filter, all=everything, count=limit)


def subscription_request(
    after: int | None, server_filter: Filter | None
) -> streams.ReadReq:
    """Return the request for what lies after a position, and then for what is new."""
    return _request(
        False,
        server_filter,
        all=_all_options(after, at_end=False),
        subscription=Options.SubscriptionOptions(),
    )


def filter_by_types(types: Iterable[str]) -> Filter:
    """Return the filter for events of these types, matched exactly."""
    pattern = "|".join(re.escape(each) for each in sorted(types))
    return _filter(event_type=Filter.Expression(regex=f"^(?:{pattern})$"))


def filter_by_stream(*, pattern: str = "", prefixes: Sequence[str] = ()) -> Filter:
    """Return the filter for streams' names, by pattern or by prefixes."""
    expression = Filter.Expression(regex=pattern, prefix=prefixes)
    return _filter(stream_identifier=expression)


def append_request(
    name: str,
    current_version: int | StreamState,
    events: Sequence[ProposedEvent],
    seconds: float,
) -> streams.BatchAppendReq:
    """
    Return the request to append to a stream, all events or none.

    It has no correlation ID yet.

    Args:
        name: The stream's name.
        current_version: Position of the last event that must be there, or a state.
        events: At least one.
        seconds: After which the server is to refuse it.
    """
    # Set field by field, which takes a fifth of the time.
    request = streams.BatchAppendReq(is_final=True)
    options = request.options
    options.stream_identifier.stream_name = name.encode()
    whole = int(seconds)
    options.deadline.seconds = whole
    options.deadline.nanos = int((seconds - whole) * 1_000_000_000)
    if isinstance(current_version, int):
        options.stream_position = current_version
    elif current_version is StreamState.NO_STREAM:
        # What each new aggregate has, in a third of the time of what follows.
        options.no_stream.SetInParent()
    else:
        getattr(options, current_version.value).CopyFrom(_GOOGLE_EMPTY)
    for event in events:
        message = request.proposed_messages.add()
        message.id.string = str(event.id)
        metadata = message.metadata
        metadata["type"] = event.type
        metadata["content-type"] = event.content_type
        message.custom_metadata = event.metadata
        message.data = event.data
    return request


def appended(answer: streams.BatchAppendResp) -> Appended:
    """
    Return where a batch was appended.

    Raises:
        CallError: Nothing was appended.
    """
    if answer.WhichOneof("result") == "success":
        success = answer.success
        return Appended(success.current_revision, success.position.commit_position)
    raise _refusal(answer.error)


def single_append_requests(
    name: str, current_version: int | StreamState, events: Sequence[ProposedEvent]
) -> list[streams.AppendReq]:
    """Return the requests of a call that appends to a stream, without batches."""
    options = streams.AppendReq.Options(
        stream_identifier=shared.StreamIdentifier(stream_name=name.encode())
    )
    if isinstance(current_version, int):
        options.revision = current_version
    else:
        getattr(options, current_version.value).CopyFrom(_EMPTY)
    return [
        streams.AppendReq(options=options),
        *(
            streams.AppendReq(
                proposed_message=streams.AppendReq.ProposedMessage(
                    id=shared.UUID(string=str(event.id)),
                    metadata={"type": event.type, "content-type": event.content_type},
                    custom_metadata=event.metadata,
                    data=event.data,
                )
            )
            for event in events
        ),
    ]


def appended_alone(answer: streams.AppendResp) -> Appended:
    """
    Return where a call has appended.

    Raises:
        CallError: Nothing was appended.
    """
    if answer.WhichOneof("result") == "success":
        success = answer.success
        return Appended(success.current_revision, success.position.commit_position)
    wrong = answer.wrong_expected_version
    raise _wrong_version(
        wrong.current_revision if wrong.HasField("current_revision") else None
    )


def members(answer: gossip.ClusterInfo) -> list[tuple[str, str]]:
    """Return of each node of a cluster that is alive what it is, and its address."""
    return [
        (
            _NODE_STATES.get(member.state) or _state_name(member.state),
            f"{member.http_end_point.address}:{member.http_end_point.port}",
        )
        for member in answer.members
        if member.is_alive
    ]


def _state_name(state: Any) -> str:
    try:
        return str(gossip.MemberInfo.VNodeState.Name(state)).lower()
    except ValueError:
        # Of a server that is newer than the messages.
        return "other"


def _refusal(error: Any) -> CallError:
    """Return why a batch was refused: its details are a message of some type."""
    details = str(error.message)
    name = error.details.type_url.rpartition(".")[2]
    if error.details.Is(shared.WrongExpectedVersion.DESCRIPTOR):
        wrong = shared.WrongExpectedVersion()
        error.details.Unpack(wrong)
        return _wrong_version(
            wrong.current_stream_revision
            if wrong.HasField("current_stream_revision")
            else None
        )
    if error.details.Is(shared.MaximumAppendSizeExceeded.DESCRIPTOR):
        exceeded = shared.MaximumAppendSizeExceeded()
        error.details.Unpack(exceeded)
        details = f"at most {exceeded.maxAppendSize} bytes, its MaxAppendSize"
    elif name == "MaximumAppendEventSizeExceeded":
        details = _event_size_details(error.details.value)
    elif error.details.Is(shared.BadRequest.DESCRIPTOR):
        bad = shared.BadRequest()
        error.details.Unpack(bad)
        details = str(bad.message)
    return answer_error(name, details)


def _wrong_version(last: int | None) -> CallError:
    details = (
        "the stream does not exist"
        if last is None
        else f"the stream's last event is {last}"
    )
    return CallError(Reason.WRONG_VERSION, details, last_position=last)


def _event_size_details(answer: bytes) -> str:
    """Say how much one event may be; esdbclient does not know this message."""
    fields = {
        each.field_number: each.data
        for each in UnknownFieldSet(Empty.FromString(answer))
    }
    return (
        f"one event has {fields.get(2, 'too many')} bytes, at most "
        f"{fields.get(3, 'fewer')}, its MaxAppendEventSize"
    )


def _all_options(position: int | None, *, at_end: bool) -> Options.AllOptions:
    if position is not None:
        return Options.AllOptions(
            position=Options.Position(
                commit_position=position, prepare_position=position
            )
        )
    return (
        Options.AllOptions(end=_EMPTY) if at_end else Options.AllOptions(start=_EMPTY)
    )


def _filter(**expression: Filter.Expression) -> Filter:
    return Filter(
        max=_WINDOW,
        checkpointIntervalMultiplier=_CHECKPOINT_MULTIPLIER,
        **expression,
    )


def _request(
    backwards: bool, server_filter: Filter | None, **kind: Any
) -> streams.ReadReq:
    which: dict[str, Any] = (
        {"no_filter": _EMPTY} if server_filter is None else {"filter": server_filter}
    )
    return streams.ReadReq(
        options=Options(
            read_direction=Options.Backwards if backwards else Options.Forwards,
            resolve_links=False,
            uuid_option=Options.UUIDOption(string=_EMPTY),
            **which,
            **kind,
        )
    )
