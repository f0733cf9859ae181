"""How far the nodes of a cluster are."""

from __future__ import annotations

import dataclasses

import grpc

from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.protocol.access import Access
from eventsourcing_eventstoredb.protocol.connections import Connection

_SECONDS = 1.0


def a_node_reaches(access: Access, position: int) -> bool:
    """Ask the nodes that are named, one after the other, whether one is so far."""
    anyone = dataclasses.replace(access, node_preference="random")
    return any(_reaches(anyone, target, position) for target in access.targets)


def _reaches(access: Access, target: str, position: int) -> bool:
    connection = Connection(access, target)
    try:
        request = messages.all_request(None, backwards=True, limit=1)
        heads = [
            message.event.event.commit_position
            for message in connection.streams.Read(
                request, **connection.arguments(_SECONDS)
            )
            if message.HasField("event")
        ]
    except grpc.RpcError:
        return False
    finally:
        connection.close()
    return max(heads, default=-1) >= position
