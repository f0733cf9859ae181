"""Which node of a cluster is looked for, and how often."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import connectors
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.retrying import connected
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.nodes import Node, State, node
from tests.support.patience import wait_until

LEADER, FOLLOWER, REPLICA = State.Leader, State.Follower, State.ReadOnlyReplica
# An attempt costs no time, so that one that fails does not hold up the tests.
QUICKLY = "MaxDiscoverAttempts=2&DiscoveryInterval=1"


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [stack.enter_context(node()) for _ in range(3)]


def say(nodes: list[Node], *states: object, dead: int = -1) -> None:
    """Have all nodes say what they are."""
    members = [
        (state, f"-{this.address}" if number == dead else this.address)
        for number, (this, state) in enumerate(zip(nodes, states, strict=True))
    ]
    for this in nodes:
        this.members = members


def cluster(nodes: list[Node], options: str = "") -> Client:
    targets = ",".join(this.address for this in nodes)
    return Client(parse_connection(f"esdb://{targets}?Tls=false&{QUICKLY}&{options}"))


@pytest.mark.parametrize(
    ("preference", "wanted"),
    [
        ("leader", {1}),
        ("follower", {0}),
        ("readonlyreplica", {2}),
        ("random", {0, 1, 2}),
    ],
)
def test_the_preferred_node_is_found(
    nodes: list[Node], preference: str, wanted: set[int]
) -> None:
    say(nodes, FOLLOWER, LEADER, REPLICA)
    found = Counter()

    for _ in range(1 if len(wanted) == 1 else 30):
        client = cluster(nodes, f"NodePreference={preference}")
        found[connected(client).target] += 1
        client.close()

    assert set(found) == {nodes[number].address for number in wanted}


def test_a_node_that_is_not_alive_is_not_chosen(nodes: list[Node]) -> None:
    say(nodes, LEADER, LEADER, FOLLOWER, dead=0)
    client = cluster(nodes)

    assert connected(client).target == nodes[1].address
    client.close()


def test_a_server_that_does_not_answer_is_passed_by(nodes: list[Node]) -> None:
    with node() as gone:
        pass
    say(nodes, FOLLOWER, FOLLOWER, LEADER)
    client = cluster([gone, *nodes])

    assert connected(client).target == nodes[2].address
    client.close()


@pytest.mark.parametrize(
    ("preference", "text"),
    [
        ("leader", "no leader among .* says: election; "),
        ("readonlyreplica", "no read-only replica among "),
    ],
)
def test_without_such_a_node_the_error_says_what_there_is(
    nodes: list[Node], preference: str, text: str
) -> None:
    say(nodes, FOLLOWER, FOLLOWER, FOLLOWER)

    with pytest.raises(OperationalError, match=text) as raised:
        connected(cluster(nodes, f"NodePreference={preference}"))

    assert f"{nodes[1].address} (follower)" in str(raised.value)
    assert nodes[0].asked == 2


def test_a_leader_that_is_elected_meanwhile_is_found(nodes: list[Node]) -> None:
    say(nodes, FOLLOWER, FOLLOWER, FOLLOWER)
    client = cluster(nodes, "MaxDiscoverAttempts=1000")
    with ThreadPoolExecutor() as threads:
        looking = threads.submit(connected, client)
        while nodes[0].asked < 3:
            time.sleep(0.001)
        say(nodes, FOLLOWER, FOLLOWER, LEADER)

        assert looking.result(60).target == nodes[2].address
    client.close()


@pytest.mark.parametrize("state", [LEADER, FOLLOWER], ids=["found", "not found"])
def test_threads_that_wait_share_one_look(
    nodes: list[Node], state: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []

    class Look(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            waiting.append(threading.get_ident())
            return super().result(timeout)

    monkeypatch.setattr(connectors, "Future", Look)
    say(nodes, state, FOLLOWER, FOLLOWER)
    nodes[0].is_held.clear()
    client = cluster(nodes, "MaxDiscoverAttempts=1")

    def connect(number: int) -> object:
        try:
            return connected(client)
        except OperationalError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        connecting = [threads.submit(connect, number) for number in range(8)]
        wait_until(lambda: len(set(waiting)) == 8)
        nodes[0].is_held.set()
        found = {each.result(60) for each in connecting}

    assert len(found) == 1
    assert nodes[0].asked == 1
    client.close()


@pytest.mark.own_store("the other nodes speak no TLS, and know no passwords")
@pytest.mark.parametrize("trailers", [True, False], ids=["told where", "not told"])
def test_a_save_goes_to_the_leader_that_a_former_one_names(
    nodes: list[Node], server: EmbeddedServer, trailers: bool
) -> None:
    former, other, _ = nodes
    former.refusal = (
        grpc.StatusCode.NOT_FOUND,
        "Leader info available",
        {
            "exception": "not-leader",
            "leader-endpoint-host": server.host,
            "leader-endpoint-port": str(server.port),
        }
        if trailers
        else {},
    )
    former.members = [(LEADER, former.address), (FOLLOWER, other.address)]
    client = cluster(nodes)
    assert connected(client).target == former.address
    if not trailers:
        former.members = [
            (FOLLOWER, former.address),
            (LEADER, f"{server.host}:{server.port}"),
        ]
    recorder = EventStoreDBApplicationRecorder(client, originator_id_type=str)

    recorder.insert_events([StoredEvent("dog-1", 0, "topic", b"{}")])

    assert connected(client).target == f"{server.host}:{server.port}"
    client.close()
