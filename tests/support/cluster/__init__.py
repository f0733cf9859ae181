"""
A cluster of three stand-in nodes, each a process, over one embedded store.

Only the leader writes, to the store; each node reads from a copy of its own, which the
leader keeps up with the store and a follower lets lag. Who is what, how far followers
lag and what they answer is the test's to say, and is in effect for the next call.
"""

from __future__ import annotations

from tests.support.cluster.cluster import Cluster, ClusterNode
from tests.support.cluster.control import Refusal

__all__ = ["Cluster", "ClusterNode", "Refusal"]
