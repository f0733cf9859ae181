"""Requests of the persistent subscriptions service, turned into plain values."""

from __future__ import annotations

from typing import Any

from eventsourcing_eventstoredb.server.engine.subscriptions import Edge
from eventsourcing_eventstoredb.server.errors import HandlerError, UnsetChoiceError
from eventsourcing_eventstoredb.server.persistent.errors import GroupFailedError
from eventsourcing_eventstoredb.server.persistent.settings import (
    ALL,
    FROM_END,
    FilterSettings,
    GroupSettings,
)
from eventsourcing_eventstoredb.server.services.requests import (
    parse_position,
    parse_revision,
    parse_stream_name,
    parse_uuid,
)

_TICKS_PER_MS = 10_000
_MAX_MS = 2**31 - 1
_ENUM_STRATEGIES = ("DispatchToSingle", "RoundRobin", "Pinned")


def parse_settings(request: Any) -> GroupSettings:
    """Read the settings of a group to be made or changed."""
    options = options_of(request)
    settings = options.settings
    source = _source_to_configure(options)
    return GroupSettings(
        source=source,
        group=options.group_name,
        start_from=_start_from(options),
        filter=_filter(options),
        resolve_links=settings.resolve_links,
        extra_statistics=settings.extra_statistics,
        message_timeout_ms=_milliseconds(settings, "message_timeout"),
        max_retry_count=settings.max_retry_count,
        checkpoint_after_ms=_milliseconds(settings, "checkpoint_after"),
        min_checkpoint_count=settings.min_checkpoint_count,
        max_checkpoint_count=settings.max_checkpoint_count,
        max_subscriber_count=settings.max_subscriber_count,
        live_buffer_size=settings.live_buffer_size,
        read_batch_size=settings.read_batch_size,
        history_buffer_size=settings.history_buffer_size,
        strategy=_strategy(settings),
    )


def options_of(request: Any) -> Any:
    """Take the options out of a request that must have them."""
    if not request.HasField("options"):
        msg = "Object reference not set to an instance of an object."
        raise HandlerError(msg)
    return request.options


def parse_source(options: Any) -> str:
    """Tell which source a request is about."""
    choice = options.WhichOneof("stream_option")
    if choice == "all":
        return ALL
    if choice is None:
        msg = "PersistentSubscriptions.ReadReq+Types+Options+StreamOptionOneofCase"
        raise UnsetChoiceError(msg)
    return parse_stream_name(options.stream_identifier)


def parse_ids(message: Any) -> list[bytes]:
    """Read the event ids that are acknowledged, or not."""
    return [parse_uuid(one) for one in message.ids]


def _source_to_configure(options: Any) -> str:
    choice = options.WhichOneof("stream_option")
    if choice == "all":
        return ALL
    identifier = (
        options.stream.stream_identifier
        if choice == "stream"
        # Where clients before 21.10 put it.
        else options.stream_identifier
    )
    name = identifier.stream_name.decode("utf-8", "replace")
    if name == "":
        raise GroupFailedError(name, options.group_name, "Bad stream name.")
    if name == ALL:
        raise GroupFailedError(
            name,
            options.group_name,
            "Persistent subscriptions to $all are only supported over gRPC through"
            " gRPC clients",
        )
    return parse_stream_name(identifier)


def _start_from(options: Any) -> int:
    choice = options.WhichOneof("stream_option")
    if choice == "stream":
        start = options.stream.WhichOneof("revision_option")
        begin: int | Edge = parse_revision(options.stream.revision)
    elif choice == "all":
        start = options.all.WhichOneof("all_option")
        position = options.all.position
        begin = parse_position(position.commit_position, position.prepare_position)
    else:
        start = "revision"
        begin = parse_revision(options.settings.revision)
    if start is None:
        msg = "The start of the subscription is not set."
        raise HandlerError(msg)
    if start == "end" or begin is Edge.END:
        return FROM_END
    return begin if isinstance(begin, int) and start != "start" else 0


def _filter(options: Any) -> FilterSettings | None:
    if options.WhichOneof("stream_option") != "all":
        return None
    # A group's filter cannot be changed, so requests to update have none.
    if not hasattr(options.all, "filter") or not options.all.HasField("filter"):
        return None
    described = options.all.filter
    kind = described.WhichOneof("filter")
    if kind is None:
        msg = "The filter is not set."
        raise HandlerError(msg)
    expression = getattr(described, kind)
    settings = FilterSettings(
        field="type" if kind == "event_type" else "stream",
        pattern=expression.regex,
        prefixes=list(expression.prefix),
    )
    settings.make()  # A pattern that is not valid must fail now.
    return settings


def _milliseconds(settings: Any, name: str) -> int:
    if settings.WhichOneof(name) == f"{name}_ticks":
        milliseconds = int(getattr(settings, f"{name}_ticks")) // _TICKS_PER_MS
    else:
        milliseconds = int(getattr(settings, f"{name}_ms"))
    # What is told of a group has room for no more.
    return max(0, min(milliseconds, _MAX_MS))


def _strategy(settings: Any) -> str:
    name = getattr(settings, "consumer_strategy", "")
    if name:
        return str(name)
    number = settings.named_consumer_strategy
    return _ENUM_STRATEGIES[number] if number < len(_ENUM_STRATEGIES) else str(number)
