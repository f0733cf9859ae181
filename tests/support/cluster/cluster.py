"""A cluster as tests see it."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.cluster.control import Control, Member, Refusal
from tests.support.cluster.launching import Launcher, LaunchError, launcher
from tests.support.ports import free_ports

_NODES = 3


class ClusterNode:
    """
    One node of a :class:`Cluster`, which makes it.

    Attributes:
        number: Which node of the cluster it is, from 0.
        address: Its ``host:port``, always the same.
        is_running: Whether it is there, and not frozen.
    """

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.number = number
        self.is_running = False
        self.address = ""
        self._cluster = cluster
        self._pid = 0

    @property
    def uri(self) -> str:
        """A connection string for this node alone."""
        return f"esdb://{self.address}?Tls=false"

    @property
    def role(self) -> str:
        """Its state in gossip: Leader, Follower, Unknown, ReadOnlyReplica, ..."""
        return self._member.role

    @role.setter
    def role(self, role: str) -> None:
        self._member.role = role
        self._cluster.tell()

    @property
    def lag(self) -> float:
        """How many seconds its copy is behind, unless it is the leader."""
        return self._member.lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        self._member.lag = seconds
        self._cluster.tell()

    def freeze(self) -> None:
        """Suspend it (SIGSTOP); gossip says so after the next change of roles."""
        self._send(signal.SIGSTOP)
        self.is_running = False

    def wake(self) -> None:
        """Let it continue (SIGCONT), in the role that it was given meanwhile."""
        self._send(signal.SIGCONT)
        self.is_running = True
        self._come_back()

    def kill(self) -> None:
        """End it (SIGKILL); returns when it is gone. Gossip says so as when frozen."""
        self._send(signal.SIGKILL)
        self.is_running = False

    def stop(self) -> None:
        """End it in order (SIGTERM); returns when it is gone."""
        self._send(signal.SIGTERM)
        self.is_running = False

    def restart(self, behind: int = 0) -> None:
        """
        Start it again, after :meth:`kill` or :meth:`stop`, at the same address.

        Args:
            behind: How many of the store's last events its copy does not have, nor
                any that follow, until :meth:`catch_up` or until it is elected.
        """
        self._member.is_behind = behind > 0
        self._come_back()
        self._start(behind)

    def catch_up(self) -> None:
        """Let its copy have what it was behind."""
        self._member.is_behind = False
        self._cluster.tell()

    @property
    def _member(self) -> Member:
        return self._cluster.control.members[self.number]

    def _come_back(self) -> None:
        member = self._member
        member.is_alive = True
        if member.role == "Leader" and self._cluster.leader is not self:
            member.role = "Follower"
        self._cluster.tell()

    def _send(self, number: signal.Signals) -> None:
        self._cluster.launcher.send(self._pid, number)

    def _start(self, behind: int = 0) -> None:
        port = int(self.address.partition(":")[2])
        self._pid, _ = self._cluster.start_node(self.number, port, behind)
        self.is_running = True


class Cluster:
    """
    Three nodes over one store, until the block ends; the first one is the leader.

    Node and store are processes, which end with the test's at the latest.

    Attributes:
        nodes: The three.
        control: What the nodes are told, by :meth:`tell`.
        store_address: The ``host:port`` of the store, where everything is that was
            ever written, at once.
    """

    def __init__(self) -> None:
        self.nodes = [ClusterNode(self, number) for number in range(_NODES)]
        self.control = Control()
        self.store_address = ""
        self._stack = ExitStack()
        self._leader: ClusterNode | None = None
        self._folder = Path()
        self._stores = 0

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store, self.store_address = self.launcher.start("store", data=self._data)
            stack.callback(self.launcher.send, store, signal.SIGKILL)
            self._start_nodes(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def launcher(self) -> Launcher:
        """What starts its processes."""
        return launcher()

    @property
    def uri(self) -> str:
        """A connection string with all three, for the leader."""
        return f"esdb://{','.join(node.address for node in self.nodes)}?Tls=false"

    @property
    def store_uri(self) -> str:
        """A connection string for the store under the nodes, to see what is there."""
        return f"esdb://{self.store_address}?Tls=false"

    @property
    def leader(self) -> ClusterNode | None:
        """The one that was elected last; None while there is no leader."""
        return self._leader

    @property
    def lag(self) -> float:
        """How many seconds the furthest follower is behind; set for all at once."""
        return max(member.lag for member in self.control.members)

    @lag.setter
    def lag(self, seconds: float) -> None:
        for member in self.control.members:
            member.lag = seconds
        self.tell()

    def elect(self, number: int) -> None:
        """Make one node the leader, and the others that run followers."""
        self._leader = self.nodes[number]
        self._give_roles("Follower")

    def leaderless(self, *, reads: bool = False) -> None:
        """
        Let there be no leader until :meth:`elect`.

        Gossip says ``Unknown`` of each node, and they are not ready for anything;
        subscriptions that are open continue.

        Args:
            reads: Whether reads and new subscriptions are answered all the same.
        """
        self._leader = None
        self.control.reads_without_leader = reads
        self._give_roles("Unknown")

    def refuse_with(self, *refusals: Refusal) -> None:
        """Have followers refuse in these ways, each node in turn."""
        self.control.refusals = list(refusals)
        self.tell()

    def tell(self) -> None:
        """Put into effect what *control* says; the next call of each node heeds it."""
        self.control.write(self._control_file)

    @contextmanager
    def another_store(self) -> Iterator[str]:
        """
        Put another store under the nodes, which are killed and start again.

        Yields:
            The connection string of that store, to fill it before the nodes start.
        """
        for node in self.nodes:
            node.kill()
        self._stores += 1
        store, self.store_address = self.launcher.start("store", data=self._data)
        self._stack.callback(self.launcher.send, store, signal.SIGKILL)
        yield self.store_uri
        for node in self.nodes:
            node.restart()
        self.elect(0)

    def start_node(self, number: int, port: int, behind: int) -> tuple[int, str]:
        """
        Start the process of a node; return its ID and where it listens.

        Raises:
            LaunchError: It does not start, perhaps since the port is in use.
        """
        return self.launcher.start(
            "node",
            number=number,
            control=str(self._control_file),
            data=self._data,
            store=self.store_address,
            port=port,
            behind=behind,
        )

    @property
    def _control_file(self) -> Path:
        return self._folder / "control.json"

    @property
    def _data(self) -> str:
        return str(self._folder / f"events-{self._stores}.sqlite3")

    def _give_roles(self, other: str) -> None:
        for node, member in zip(self.nodes, self.control.members, strict=True):
            member.is_alive = node.is_running
            member.role = "Leader" if node is self._leader else other
        self.tell()

    def _start_nodes(self, stack: ExitStack) -> None:
        ports: Iterable[int] = iter(free_ports())
        self.control.members = [Member("") for _ in self.nodes]
        self.tell()
        for node in self.nodes:
            stack.callback(node.kill)
            self._start_node(node, ports)
        self.elect(0)

    def _start_node(self, node: ClusterNode, ports: Iterable[int]) -> None:
        for port in ports:
            node.address = f"127.0.0.1:{port}"
            self.control.members[node.number].address = node.address
            try:
                node._start()
            except LaunchError:
                continue
            return
        msg = "there is no port at which a node starts"
        raise LaunchError(msg)
