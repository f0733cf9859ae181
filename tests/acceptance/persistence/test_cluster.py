"""The stand-in cluster does to the client library what a real one does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.support.client_library import (
    EventStoreDBClient,
    EventStoreDBClientException,
    ExceptionThrownByHandler,
    GrpcDeadlineExceeded,
    NewEvent,
    NodeIsNotLeader,
    NotFound,
    ServiceUnavailable,
    StreamState,
    UnknownError,
    gossip_pb2_grpc,
    shared_pb2,
)
from tests.support.cluster import Cluster, ClusterNode, Refusal
from tests.support.patience import wait_until
from tests.support.projects import ROOT

STREAM = "dog-1"


@contextlib.contextmanager
def asking(
    node: ClusterNode, preference: str = "leader"
) -> Iterator[EventStoreDBClient]:
    """A client that never looks for another node."""
    with EventStoreDBClient(f"{node.uri}&NodePreference={preference}") as client:
        yield client


def save(client: EventStoreDBClient, count: int = 1) -> int:
    events = [NewEvent(type="Named", data=b"{}") for _ in range(count)]
    return client.append_events(STREAM, current_version=StreamState.ANY, events=events)


def saved(client: EventStoreDBClient) -> int:
    try:
        return len(client.get_stream(STREAM))
    except NotFound:
        return 0


def alive(node: ClusterNode) -> set[str]:
    """The nodes that are alive, says one."""
    with grpc.insecure_channel(node.address) as channel:
        members = gossip_pb2_grpc.GossipStub(channel).Read(shared_pb2.Empty()).members
    return {
        f"{each.http_end_point.address}:{each.http_end_point.port}"
        for each in members
        if each.is_alive
    }


def test_a_leader_reads_what_it_has_written_and_followers_come_after(
    cluster: Cluster,
) -> None:
    with (
        EventStoreDBClient(cluster.uri) as client,
        asking(cluster.nodes[2], "follower") as follower,
        EventStoreDBClient(cluster.store_uri) as store,
    ):
        position = save(client, 3)

        assert client.connection_target == cluster.nodes[0].address
        assert saved(client) == saved(store) == 3
        wait_until(lambda: saved(follower) == 3)
        for each in (client, follower, store):
            assert [e.commit_position for e in each.read_all()][-1] == position


@pytest.mark.parametrize(
    ("refusal", "error", "code", "details"),
    [
        (
            Refusal.NOT_LEADER,
            NodeIsNotLeader,
            grpc.StatusCode.NOT_FOUND,
            "Leader info available",
        ),
        (
            Refusal.LEADER_INFO,
            NodeIsNotLeader,
            grpc.StatusCode.NOT_FOUND,
            "Leader info available",
        ),
        (
            Refusal.HANDLER_FAILED,
            ExceptionThrownByHandler,
            grpc.StatusCode.UNKNOWN,
            "Exception was thrown by handler.",
        ),
        (
            Refusal.NO_LEADER_INFO,
            UnknownError,
            grpc.StatusCode.UNKNOWN,
            "No leader info available in response",
        ),
    ],
)
def test_a_follower_refuses_what_only_the_leader_does(
    cluster: Cluster,
    refusal: Refusal,
    error: type[EventStoreDBClientException],
    code: grpc.StatusCode,
    details: str,
) -> None:
    cluster.refuse_with(refusal)
    one = NewEvent(type="Named", data=b"{}")
    with asking(cluster.nodes[1]) as client:
        for call in (
            lambda: save(client),
            lambda: client.append_event(
                STREAM, current_version=StreamState.ANY, event=one
            ),
            lambda: client.delete_stream(STREAM, current_version=StreamState.ANY),
            lambda: client.get_stream(STREAM),
            lambda: client.create_subscription_to_all("dogs"),
        ):
            with pytest.raises(error) as raised:
                call()

            (answer,) = raised.value.args
            if isinstance(answer, str):
                # kurrentdbclient's errors have the text, and the leader.
                assert answer == details
                if refusal is Refusal.NOT_LEADER:
                    leader = f"{raised.value.host}:{raised.value.port}"
                    assert leader == cluster.nodes[0].address
                continue
            trailers = dict(answer.trailing_metadata())
            assert answer.code() is code
            assert answer.details() == details
            assert trailers.get("exception") == (
                "not-leader" if refusal is Refusal.NOT_LEADER else None
            )
            if refusal is Refusal.NOT_LEADER:
                assert isinstance(raised.value, NodeIsNotLeader)
                assert raised.value.leader_grpc_target == cluster.nodes[0].address


def test_refusals_are_taken_in_turn(cluster: Cluster) -> None:
    cluster.refuse_with(Refusal.LEADER_INFO, Refusal.NO_LEADER_INFO)

    with asking(cluster.nodes[1]) as client:
        for error in (NodeIsNotLeader, UnknownError) * 2:
            with pytest.raises(error):
                client.get_stream(STREAM)


def test_without_a_leader_nothing_is_ready(cluster: Cluster) -> None:
    with asking(cluster.nodes[0]) as client:
        cluster.leaderless()

        with pytest.raises(ServiceUnavailable, match="Server Is Not Ready"):
            client.get_stream(STREAM)
        with pytest.raises(EventStoreDBClientException, match=r"protobuf\.Empty"):
            save(client)
        assert {each.state for each in client.read_gossip()} == {"NODE_STATE_OTHER"}

        cluster.leaderless(reads=True)
        assert saved(client) == 0

        cluster.elect(0)
        save(client)
        assert saved(client) == 1


def test_a_follower_reads_what_is_older_than_its_lag(cluster: Cluster) -> None:
    cluster.lag = 3_600
    with (
        EventStoreDBClient(cluster.uri) as client,
        asking(cluster.nodes[1], "follower") as follower,
    ):
        save(client)
        assert saved(follower) == 0

        cluster.lag = 0.3
        begun = time.time()
        save(client)
        wait_until(lambda: saved(follower) == 2)
        assert time.time() - begun >= 0.3


def test_a_lagging_follower_that_is_elected_has_everything(cluster: Cluster) -> None:
    cluster.lag = 3_600
    with (
        EventStoreDBClient(cluster.uri) as client,
        asking(cluster.nodes[1]) as other,
    ):
        save(client, 5)

        cluster.elect(1)

        assert saved(other) == 5


@pytest.mark.parametrize("preference", ["leader", "follower"])
def test_a_subscription_at_a_follower_goes_on_through_everything(
    cluster: Cluster, preference: str
) -> None:
    with (
        EventStoreDBClient(cluster.uri) as client,
        asking(cluster.nodes[2], preference) as follower,
        follower.subscribe_to_all() as events,
    ):
        positions = [save(client)]
        received = [next(events).commit_position]

        cluster.nodes[0].kill()
        cluster.leaderless()
        cluster.elect(1)
        positions.append(save(client))
        received.append(next(events).commit_position)

    assert received == positions


def test_a_frozen_leader_answers_nothing_and_refuses_when_it_wakes(
    cluster: Cluster,
) -> None:
    first, second, _ = cluster.nodes
    with asking(first) as client, asking(second) as other:
        save(client)
        first.freeze()
        with pytest.raises(GrpcDeadlineExceeded):
            client.get_stream(STREAM, timeout=0.3)
        answers: list[object] = []

        def try_to_save() -> None:
            try:
                answers.append(save(client))
            except EventStoreDBClientException as error:
                answers.append(error)

        saving = threading.Thread(target=try_to_save)
        saving.start()
        cluster.elect(1)
        save(other)
        first.wake()
        saving.join(60)

        assert isinstance(answers[0], NodeIsNotLeader)
        assert saved(other) == 2
        assert first.role == "Follower"


def test_a_killed_leader_is_not_alive_and_comes_back_as_a_follower(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.nodes
    first.kill()
    cluster.elect(2)
    assert alive(second) == {second.address, third.address}

    first.restart()

    assert alive(second) == {each.address for each in cluster.nodes}
    assert (first.role, third.role) == ("Follower", "Leader")
    with asking(first, "follower") as client:
        assert saved(client) == 0


def test_a_node_restarts_behind_until_it_catches_up(cluster: Cluster) -> None:
    third = cluster.nodes[2]
    with EventStoreDBClient(cluster.uri) as client:
        save(client, 5)
        third.stop()

        third.restart(behind=2)
        save(client)

        with asking(third, "follower") as follower:
            wait_until(lambda: saved(follower) == 3)
            third.catch_up()
            wait_until(lambda: saved(follower) == 6)


def test_processes_of_a_cluster_end_with_the_one_that_started_them() -> None:
    program = (
        "import os, signal\n"
        "from tests.support.cluster import Cluster\n"
        "cluster = Cluster().__enter__()\n"
        "cluster.nodes[1].freeze()\n"
        "print(*[node._pid for node in cluster.nodes], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    ).stdout

    ids = [int(each) for each in said.split()]
    assert len(ids) == 3
    wait_until(lambda: not any(_exists(each) for each in ids))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
