"""Reads of one stream, whole or not at all."""

from __future__ import annotations

from typing import Any

from eventsourcing_eventstoredb.protocol import calls, messages, retrying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, client_errors


def read_stream(
    client: EventStoreDBClient,
    name: str,
    position: int | None,
    *,
    desc: bool,
    limit: int,
    from_leader: bool = False,
) -> list[Any]:
    """
    Return recorded events in the protocol's form; all that were asked for.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        name: The stream's name.
        position: Where to begin, inclusive; None for the end that the direction
            begins at.
        desc: Whether to read towards the first event.
        limit: Most events to return.
        from_leader: Whether the leader has to answer.

    Returns:
        The events; none if the stream does not exist or was deleted.

    Raises:
        OperationalError: The read was cut short.
    """
    request = messages.stream_request(name, position, backwards=desc, limit=limit)

    def attempt(seconds: float) -> list[Any]:
        with client_errors(f"Reading stream {name!r}"):
            try:
                return [
                    message.event.event
                    for message in calls.read_messages(
                        client, request, seconds, from_leader=from_leader
                    )
                    if message.HasField("event")
                ]
            except CallError as error:
                if error.reason is Reason.STREAM_DELETED:
                    return []
                raise

    return retrying.with_retries(
        client, attempt, retrying.READ_DEADLINE, from_leader=from_leader
    )
