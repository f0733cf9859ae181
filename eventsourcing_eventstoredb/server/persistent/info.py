"""Describing a group in the protocol's terms."""

from __future__ import annotations

from typing import Any

from eventsourcing_eventstoredb.server.persistent.consumers import Consumer
from eventsourcing_eventstoredb.server.persistent.group import Group
from eventsourcing_eventstoredb.server.services.messages import persistent


def encode_info(group: Group) -> Any:
    """Write what there is to know of a group."""
    settings = group.settings
    # Before the status: counting reads on as far as there is room.
    buffered_count = group.buffered_count
    return persistent.SubscriptionInfo(
        event_source=settings.source,
        group_name=settings.group,
        status="Live" if group.is_live else "Behind",
        connections=[_encode_connection(one) for one in list(group.consumers)],
        total_items=group.total_items,
        last_checkpointed_event_position=settings.format_position(
            group.last_checkpoint
        ),
        last_known_event_position=settings.format_position(group.last_known),
        resolve_link_tos=settings.resolve_links,
        start_from=settings.format_position(settings.start_from),
        message_timeout_milliseconds=settings.message_timeout_ms,
        extra_statistics=settings.extra_statistics,
        max_retry_count=settings.max_retry_count,
        live_buffer_size=settings.live_buffer_size,
        buffer_size=settings.history_buffer_size,
        read_batch_size=settings.read_batch_size,
        check_point_after_milliseconds=settings.checkpoint_after_ms,
        min_check_point_count=settings.min_checkpoint_count,
        max_check_point_count=settings.max_checkpoint_count,
        read_buffer_count=buffered_count,
        retry_buffer_count=group.retry_count,
        total_in_flight_messages=group.outstanding_count,
        outstanding_messages_count=group.outstanding_count,
        named_consumer_strategy=settings.strategy,
        max_subscriber_count=settings.max_subscriber_count,
        parked_message_count=group.parked_count,
    )


def _encode_connection(consumer: Consumer) -> Any:
    connection = persistent.SubscriptionInfo.ConnectionInfo(
        username=consumer.user,
        total_items=consumer.total_items,
        available_slots=consumer.buffer_size - len(consumer.in_flight),
        in_flight_messages=len(consumer.in_flight),
        connection_name=consumer.name,
    )
    # The field's name is a keyword of Python.
    setattr(connection, "from", consumer.peer)
    return connection
