"""Looking for a node of a cluster."""

from __future__ import annotations

import random
import time

import grpc

from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.protocol.access import Access
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, call_error
from eventsourcing_eventstoredb.protocol.generated import shared


def find_node(access: Access) -> Connection:
    """
    Connect to the node of a cluster that is preferred; blocks.

    The servers that are named are asked in their order, until one knows the members.

    Raises:
        CallError: None of them answered, or there is no such node, in all attempts.
    """
    attempts = access.max_discover_attempts
    while True:
        try:
            return _look_once(access)
        except CallError:
            attempts -= 1
            if attempts <= 0:
                raise
        time.sleep(access.discovery_interval)


def _look_once(access: Access) -> Connection:
    connection, members = _ask(access)
    try:
        preferred = _preferred(members, access.node_preference)
    except BaseException:
        connection.close()
        raise
    # A single node may advertise an address at which it cannot be reached from here.
    if len(members) == 1 or preferred == connection.target:
        return connection
    connection.close()
    return Connection(access, preferred)


def _ask(access: Access) -> tuple[Connection, list[tuple[str, str]]]:
    """Return a connection to a server that answers, and the cluster's members."""
    options = (("grpc.lb_policy_name", "round_robin"),) if access.resolves_names else ()
    last: CallError | None = None
    for target in access.targets:
        connection = Connection(access, target, options)
        try:
            answer = connection.gossip.Read(
                shared.Empty(), **connection.arguments(access.gossip_timeout)
            )
        except grpc.RpcError as error:
            connection.close()
            last = call_error(error)
        except BaseException:
            connection.close()
            raise
        else:
            return connection, messages.members(answer)
    asked = ", ".join(access.targets)
    details = last.details if last is not None else ""
    raise CallError(Reason.NO_NODE, f"none of {asked} answered: {details}") from last


def _preferred(members: list[tuple[str, str]], preference: str) -> str:
    found = [address for state, address in members if preference in ("random", state)]
    if not found or (preference == "leader" and len(found) > 1):
        known = ", ".join(f"{address} ({state})" for state, address in members)
        number = f"{len(found)} of them are" if found else "none of them is"
        msg = f"{number} {preference}: {known or 'no node is alive'}"
        raise CallError(Reason.NO_NODE, msg)
    return random.choice(found)  # noqa: S311  (no secret)
