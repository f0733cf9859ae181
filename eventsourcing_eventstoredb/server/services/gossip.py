"""The Gossip service: a cluster of one, which is its own leader."""

from __future__ import annotations

import time
import uuid
from typing import Any

import grpc

from eventsourcing_eventstoredb.server.services.calls import Calls
from eventsourcing_eventstoredb.server.services.encoding import encode_uuid
from eventsourcing_eventstoredb.server.services.messages import GossipServicer, gossip


class Gossip(GossipServicer):
    """
    Answers the calls of the Gossip service.

    Args:
        calls: What calls have in common.
        host: The address to tell clients.
        port: The port to tell them.
    """

    def __init__(self, calls: Calls, host: str, port: int) -> None:
        self._calls = calls
        self._end_point = gossip.EndPoint(address=host, port=port)
        self._instance_id = encode_uuid(uuid.uuid4().bytes, structured=True)

    def Read(  # noqa: N802  the protocol's name
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Tell who is in the cluster."""
        with self._calls.answering(context, anonymous=True):
            return self._cluster()

    def _cluster(self) -> Any:
        member = gossip.MemberInfo(
            instance_id=self._instance_id,
            time_stamp=time.time_ns() // 100,
            state=gossip.MemberInfo.Leader,
            is_alive=True,
            http_end_point=self._end_point,
        )
        return gossip.ClusterInfo(members=[member])
