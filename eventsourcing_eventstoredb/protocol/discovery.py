"""Looking for a node of a cluster."""

from __future__ import annotations

import random
import time
from collections import Counter

from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.protocol.access import Access
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.connectors import Connector
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.protocol.questions import Question

# Seconds from the first answer on in which others have to come. Who is frozen continues
# being named for a while, so who is named has to answer, too.
_OTHERS_SECONDS = 1.0
_TURN_SECONDS = 0.002

_ELECTION = "election"


def find_node(connector: Connector) -> Connection:
    """
    Connect to the node of a cluster that is preferred; blocks.

    All servers that are named are asked at once. A node is taken that answers itself,
    and a leader must be named by most of those who answer. Of several one is taken at
    random, not the one that answers first, so that clients spread.

    Raises:
        CallError: None of them answered, or there is no such node, in all attempts.
    """
    access = connector.access
    attempts = access.max_discover_attempts
    while True:
        look = _Look(access)
        try:
            connection = look.find()
        finally:
            look.close()
        if connection is not None:
            return connection
        error = CallError(Reason.NO_NODE, look.failure(connector.outage.seconds))
        connector.failure = error
        connector.outage.failed(error)
        attempts -= 1
        if attempts <= 0 or connector.is_closed:
            raise error
        time.sleep(access.discovery_interval)


class _Look:
    """One attempt to find a node."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._asked: dict[str, tuple[Connection, Question]] = {}
        self._answers: dict[str, list[tuple[str, str]]] = {}
        self._last: list[tuple[str, str]] | None = None
        self._problem = ""
        self._failed: set[str] = set()
        self._choice = ""
        self._found: Connection | None = None

    def find(self) -> Connection | None:
        """Ask, and return the connection to the node; None if there is no such node."""
        for target in dict.fromkeys(self._access.targets):
            self._ask(target)
        end = time.monotonic() + self._access.gossip_timeout
        while self._found is None:
            is_over = not self._take_answers() or time.monotonic() > end
            if self._answers:
                end = min(end, time.monotonic() + _OTHERS_SECONDS)
            named = self._named(is_over)
            if is_over or self._choice not in named or self._choice in self._failed:
                self._choice = self._choose(named, is_over)
            if self._choice in self._answers:
                self._found = self._asked[self._choice][0]
            elif self._choice and self._choice not in self._asked:
                # It is known by another name, or was not named.
                self._ask(self._choice)
                end = time.monotonic() + _OTHERS_SECONDS
            elif is_over:
                return None
            else:
                time.sleep(_TURN_SECONDS)
        return self._found

    def close(self) -> None:
        """Close the connections that were not returned."""
        for connection, question in self._asked.values():
            if connection is not self._found:
                question.leave_grpc()
                connection.close()

    def failure(self, seconds: float) -> str:
        """Return what there was instead of a node."""
        access = self._access
        waited = f" for {seconds:.0f} s" if seconds >= 1 else ""
        if self._last is None:
            return f"none of {access.addresses} answered{waited}: {self._problem}"
        said = ", ".join(f"{address} ({state})" for state, address in self._last)
        if not any(state == "leader" for state, _ in self._last):
            said = f"{_ELECTION}; {said}"
        silent = [each for each in self._named(True) if each not in self._answers]
        problem = f"; {', '.join(silent)} does not answer" if silent else ""
        return (
            f"no {access.node} among {access.addresses}{waited}; the last that "
            f"answered says: {said or 'no node is alive'}{problem}"
        )

    def _ask(self, target: str) -> None:
        access = self._access
        is_name = access.resolves_names and not self._asked
        options = (("grpc.lb_policy_name", "round_robin"),) if is_name else ()
        question = Question()
        connection = Connection(access, target, options)
        self._asked[target] = connection, question
        question.ask(connection, access.gossip_timeout)

    def _choose(self, named: list[str], is_over: bool) -> str:
        """Return one of the nodes at random; empty if none of them can be taken."""
        choices = [address for address in named if address not in self._failed]
        if is_over:
            answering = [each for each in choices if each in self._answers]
            choices = answering or [each for each in choices if each not in self._asked]
        return random.choice(choices) if choices else ""  # noqa: S311

    def _take_answers(self) -> bool:
        """Take what has come; return whether something may come yet."""
        is_waiting = False
        for target, (_, question) in self._asked.items():
            if target in self._answers or target in self._failed:
                continue
            if question.is_answered(0) is None:
                is_waiting = True
                continue
            answer = question.answer()
            if isinstance(answer, CallError):
                self._problem = answer.details
                self._failed.add(target)
            else:
                self._last = self._answers[target] = messages.members(answer)
        return is_waiting

    def _named(self, is_over: bool) -> list[str]:
        """Return the addresses of the nodes to choose from."""
        # What a node is asked for itself says by which name it knows itself, no more.
        named_ones = self._access.targets
        answers = [
            (target, members)
            for target, members in self._answers.items()
            if target in named_ones
        ]
        if len(answers) == 1 and len(answers[0][1]) == 1:
            # A single node may advertise an address at which it cannot be reached.
            target, ((state, _),) = answers[0]
            return [target] if self._is_wanted(state) else []
        votes = Counter(
            address
            for _, members in answers
            for state, address in members
            if self._is_wanted(state)
        )
        if self._access.node_preference != "leader" or not votes:
            return list(votes)
        (first, most), *others = votes.most_common(2)
        if others and others[0][1] == most:
            return []
        is_most = 2 * most > len(set(self._access.targets))
        return [first] if is_most or is_over else []

    def _is_wanted(self, state: str) -> bool:
        return self._access.node_preference in ("random", state)
