"""
Requests of the Streams service, checked and turned into plain values.

The order of the checks is the real server's: of several mistakes in a request, the
first one it finds is the one that it names.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eventsourcing_eventstoredb.server.engine.filters import Filter
from eventsourcing_eventstoredb.server.engine.subscriptions import (
    DEFAULT_WINDOW,
    CheckpointInterval,
    Edge,
)
from eventsourcing_eventstoredb.server.errors import (
    HandlerError,
    InvalidArgumentError,
    MissingMetadataError,
    UnsetChoiceError,
)
from eventsourcing_eventstoredb.server.services.messages import streams
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    MAX_NUMBER,
    NO_STREAM,
    STREAM_EXISTS,
    NewEvent,
)

_UNSIGNED_MAX = 2**64 - 1

_GUID = re.compile(
    r"\s*(?:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})"
    r"|\{([0-9a-f-]{36})\}|\(([0-9a-f-]{36})\))\s*",
    re.IGNORECASE,
)

_EXPECTATIONS = {"no_stream": NO_STREAM, "any": ANY, "stream_exists": STREAM_EXISTS}


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """
    A request to read, or to subscribe.

    Attributes:
        stream: The stream's name; None for the whole log.
        begin: A number or position, or an edge.
        is_backwards: The direction.
        is_subscription: Whether to continue with what is new.
        limit: The most events to return.
        resolve_links: Whether to follow links.
        event_filter: What to let through; None for everything.
        interval: How often to send checkpoints.
        structured_ids: How to write event ids; None when the client did not say.
        tells_positions: Whether the client understands where a stream begins and ends.
    """

    stream: str | None
    begin: int | Edge
    is_backwards: bool
    is_subscription: bool
    limit: int
    resolve_links: bool
    event_filter: Filter | None
    interval: CheckpointInterval
    structured_ids: bool | None
    tells_positions: bool


def parse_read(request: streams.ReadReq) -> ReadRequest:
    """
    Check a read request.

    Raises:
        ProtocolError: It makes no sense.
    """
    if not request.HasField("options"):
        msg = "Object reference not set to an instance of an object."
        raise HandlerError(msg)
    options = request.options
    source = options.WhichOneof("stream_option")
    if source is None:
        msg = "Streams.ReadReq+Types+Options+StreamOptionOneofCase"
        raise UnsetChoiceError(msg)
    _check_combination(options, source)
    stream, begin = _parse_source(options, source)
    event_filter, interval = None, CheckpointInterval(DEFAULT_WINDOW, 1)
    is_subscription = options.WhichOneof("count_option") == "subscription"
    if options.WhichOneof("filter_option") == "filter":
        event_filter = parse_filter(options.filter)
        interval = _parse_interval(options.filter, is_subscription)
    structured_ids = None
    if options.HasField("uuid_option"):
        structured_ids = options.uuid_option.WhichOneof("content") != "string"
    return ReadRequest(
        stream=stream,
        begin=begin,
        is_backwards=bool(options.read_direction),
        is_subscription=is_subscription,
        # The real server would search for ever in windows of nothing.
        limit=options.count if interval.window else 0,
        resolve_links=options.resolve_links,
        event_filter=event_filter,
        interval=interval,
        structured_ids=structured_ids,
        tells_positions=options.control_option.compatibility >= 1,
    )


def _check_combination(options: Any, source: str) -> None:
    count = options.WhichOneof("count_option")
    filtering = options.WhichOneof("filter_option")
    direction = options.read_direction
    is_valid = (
        filtering in (("no_filter",) if source == "stream" else ("filter", "no_filter"))
        and count is not None
        and direction in ((0,) if count == "subscription" else (0, 1))
    )
    if not is_valid:
        names = {0: "Forwards", 1: "Backwards"}
        msg = (
            f"The combination of ({source.capitalize()},"
            f" {'None' if count is None else count.capitalize()},"
            f" {names.get(direction, direction)},"
            f" {_FILTER_NAMES[filtering]}) is invalid."
        )
        raise InvalidArgumentError(msg)


_FILTER_NAMES = {"filter": "Filter", "no_filter": "NoFilter", None: "None"}


def _parse_source(options: Any, source: str) -> tuple[str | None, int | Edge]:
    if source == "stream":
        choice = options.stream.WhichOneof("revision_option")
        if choice is None:
            msg = (
                "Streams.ReadReq+Types+Options+Types+StreamOptions"
                "+RevisionOptionOneofCase"
            )
            raise UnsetChoiceError(msg)
        name = parse_stream_name(options.stream.stream_identifier)
        if choice == "revision":
            return name, parse_revision(options.stream.revision)
        return name, Edge(choice)
    choice = options.all.WhichOneof("all_option")
    if choice is None:
        msg = "Streams.ReadReq+Types+Options+Types+AllOptions+AllOptionOneofCase"
        raise UnsetChoiceError(msg)
    if choice == "position":
        position = options.all.position
        return None, parse_position(position.commit_position, position.prepare_position)
    return None, Edge(choice)


def parse_filter(options: Any) -> Filter:
    """Make the filter that a client describes."""
    kind = options.WhichOneof("filter")
    if kind is None:
        msg = "Streams.ReadReq+Types+Options+Types+FilterOptions"
        raise UnsetChoiceError(msg, _filter_text(options))
    expression = getattr(options, kind)
    field = "type" if kind == "event_type" else "stream"
    return Filter(field, expression.regex, expression.prefix)


def _filter_text(options: Any) -> str:
    """Write a filter without an expression as the real server's texts have it."""
    window = options.WhichOneof("window")
    fields = {
        "max": str(options.max) if window == "max" else "",
        "count": "{ }" if window == "count" else "",
        "checkpointIntervalMultiplier": str(options.checkpointIntervalMultiplier or ""),
    }
    texts = [f'"{name}": {value}' for name, value in fields.items() if value]
    return " ".join(("{", ", ".join(texts), "}")) if texts else "{ }"


def _parse_interval(options: Any, is_subscription: bool) -> CheckpointInterval:
    window = options.WhichOneof("window")
    if window is None:
        msg = "Streams.ReadReq+Types+Options+Types+FilterOptions+WindowOneofCase"
        raise UnsetChoiceError(msg)
    size = options.max if window == "max" else DEFAULT_WINDOW
    multiplier = options.checkpointIntervalMultiplier
    if is_subscription and (multiplier == 0 or size == 0):
        msg = "The checkpoint interval must be positive."
        raise HandlerError(msg)
    return CheckpointInterval(window=size, events=size * multiplier)


def parse_stream_name(identifier: Any) -> str:
    """Read a stream's name; bytes that are no UTF-8 are replaced."""
    name: str = identifier.stream_name.decode("utf-8", "replace")
    if not name:
        msg = "eventStreamId"
        raise HandlerError(msg)
    return name


def parse_revision(revision: int) -> int | Edge:
    """Read the number of an event; the largest of all means the end."""
    if revision == _UNSIGNED_MAX:
        return Edge.END
    if revision > MAX_NUMBER:
        msg = "Value was either too large or too small for an Int64."
        raise HandlerError(msg)
    return revision


def parse_position(commit: int, prepare: int) -> int | Edge:
    """Read a position in the log; the largest of all means the end."""
    if commit == prepare == _UNSIGNED_MAX:
        return Edge.END
    if max(commit, prepare) > MAX_NUMBER or prepare > commit:
        msg = "The position is not valid."
        raise HandlerError(msg)
    return commit


def parse_expectation(options: Any, field: str, number: str, name: str) -> int:
    """
    Read what a writer expects of a stream.

    Args:
        options: The message with the expectation.
        field: The name of the field with the alternatives.
        number: The alternative that is a number.
        name: The real server's name for the field.
    """
    choice = options.WhichOneof(field)
    if choice is None:
        raise UnsetChoiceError(name)
    if choice == number:
        revision = parse_revision(getattr(options, number))
        return NO_STREAM if isinstance(revision, Edge) else revision
    return _EXPECTATIONS[choice]


def parse_event(message: Any, *, in_batch: bool = False) -> NewEvent:
    """
    Check a proposed event.

    Raises:
        MissingMetadataError: A metadata key is missing; in a batch the real server
            fails instead.
        HandlerError: The id is no UUID or is nil, or the type is empty.
    """
    metadata: Mapping[str, str] = message.metadata
    for key in ("type", "content-type"):
        if key not in metadata:
            if in_batch:
                msg = "The given key was not present in the dictionary."
                raise HandlerError(msg)
            raise MissingMetadataError(key)
    event_id = parse_uuid(message.id if message.HasField("id") else None)
    if not any(event_id):
        msg = "Empty eventId provided. (Parameter 'eventId')"
        raise HandlerError(msg)
    if not metadata["type"]:
        msg = "Empty eventType provided. (Parameter 'eventType')"
        raise HandlerError(msg)
    return NewEvent(
        id=event_id,
        type=metadata["type"],
        is_json=metadata["content-type"] == "application/json",
        data=message.data,
        custom_metadata=message.custom_metadata,
    )


def parse_uuid(message: Any) -> bytes:
    """
    Read a UUID in either form, as its 16 bytes.

    Args:
        message: None for a field that is not set.

    Raises:
        HandlerError: It is none.
    """
    if message is None:
        msg = "Value cannot be null. (Parameter 'dto')"
        raise HandlerError(msg)
    form = message.WhichOneof("value")
    if form == "string":
        found = _GUID.fullmatch(message.string)
        if found and found[1]:
            # As most are, in half the time.
            return bytes.fromhex(found[1].replace("-", ""))
        try:
            return uuid.UUID(next(filter(None, found.groups() if found else ()))).bytes
        except (ValueError, StopIteration):
            raise HandlerError(_guid_mistake(message.string)) from None
    if form == "structured":
        high, low = (
            message.structured.most_significant_bits % 2**64,
            message.structured.least_significant_bits % 2**64,
        )
        return uuid.UUID(int=high << 64 | low).bytes
    msg = "Invalid argument: None (Parameter 'dto')"
    raise HandlerError(msg)


def _guid_mistake(text: str) -> str:
    text = text.strip()
    if not text:
        return "Unrecognized Guid format."
    body = text[1:-1] if text[0] in "{(" else text
    if len(body) != (36 if "-" in body else 32):
        return (
            "Guid should contain 32 digits with 4 dashes"
            " (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)."
        )
    if "-" in body and any(body[place] != "-" for place in (8, 13, 18, 23)):
        return "Dashes are in the wrong position for GUID parsing."
    return "Guid string should only contain hexadecimal characters."
