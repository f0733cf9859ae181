"""What a test says about a cluster, in a file that each node looks at in each call."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Refusal(StrEnum):
    """How a node refuses what only a leader does."""

    NOT_LEADER = "not-leader"
    """NOT_FOUND, «Leader info available», the leader's address in the trailers."""
    LEADER_INFO = "leader-info"
    """The same code and words, without any trailer."""
    HANDLER_FAILED = "handler-failed"
    """UNKNOWN, «Exception was thrown by handler.», as in a race in the server."""
    NO_LEADER_INFO = "no-leader-info"
    """UNKNOWN, «No leader info available in response»."""
    NOT_READY = "not-ready"
    """UNAVAILABLE, «Server Is Not Ready»; to batches an answer that is empty."""


@dataclass
class Member:
    """
    What is said of one node.

    Attributes:
        address: Its ``host:port``.
        role: The name of its state in gossip, such as ``Leader``.
        is_alive: What gossip says about that.
        lag: How many seconds its copy is behind, unless it is the leader.
        is_behind: Whether its copy stays as it was when the node was started.
    """

    address: str
    role: str = "Follower"
    is_alive: bool = True
    lag: float = 0.0
    is_behind: bool = False


@dataclass
class Control:
    """
    What is said of a cluster.

    Attributes:
        members: The nodes.
        refusals: How nodes refuse, each in turn.
        reads_without_leader: Whether nodes that know no leader answer reads.
    """

    members: list[Member] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=lambda: [Refusal.NOT_LEADER])
    reads_without_leader: bool = False

    @property
    def leader(self) -> Member | None:
        """The leader, if there is one."""
        return next((each for each in self.members if each.role == "Leader"), None)

    def write(self, path: Path) -> None:
        """Put it into a file, at once."""
        written = path.with_suffix(".new")
        written.write_text(json.dumps(asdict(self)))
        written.replace(path)


class ControlFile:
    """Reads what the test has said last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._control = Control()

    def read(self) -> Control:
        """Return what is said now; costs little where nothing has changed."""
        found = os.stat(self._path)
        version = found.st_ino, found.st_mtime_ns
        if version != self._version:
            said = json.loads(self._path.read_text())
            members = [Member(**each) for each in said.pop("members")]
            refusals = [Refusal(each) for each in said.pop("refusals")]
            self._control = Control(members, refusals, **said)
            self._version = version
        return self._control
