"""
Beginning aggregates in streams that are new, and telling when they are not.

EventStoreDB goes on counting in a stream that was deleted. It would accept an
aggregate's first events, and they would lie at other positions than their versions say.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from uuid import UUID

from eventsourcing.persistence import IntegrityError, ProgrammingError

from eventsourcing_eventstoredb.appending import deadline
from eventsourcing_eventstoredb.protocol import calls, messages
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import (
    Reason,
    client_errors,
    reason_of,
)
from eventsourcing_eventstoredb.protocol.proposals import Appended
from eventsourcing_eventstoredb.protocol.retrying import with_retries
from eventsourcing_eventstoredb.text import counted

# What EventStoreDB's $tb is set to when a stream is deleted.
_DELETED_TRUNCATE_BEFORE = 2**63 - 1

# Versions of UUIDs of a moment or at random, so that no stream had them before.
_UNIQUE_VERSIONS = (1, 4, 6, 7)
_UUID_LENGTH = 36

# Names that are remembered as those of streams that are not deleted.
_REMEMBERED_NAMES = 10_000


class NewStreams:
    """
    Knows which streams an aggregate may begin in; for all threads.

    Args:
        client: Any esdbclient client.
    """

    def __init__(self, client: EventStoreDBClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def check(self, originator_id: UUID | str, name: str) -> None:
        """
        Refuse to begin an aggregate in a stream that was deleted.

        Nothing is asked where the ID was just made, or the stream was looked at before.

        Args:
            originator_id: The aggregate's ID.
            name: The stream's name.

        Raises:
            IntegrityError: The stream was deleted.
            OperationalError: The server could not be asked.
        """
        if is_unique(originator_id) or name in self._seen:
            return
        _check_not_deleted(self._client, name)
        with self._lock:
            self._seen[name] = None
            if len(self._seen) > _REMEMBERED_NAMES:
                self._seen.popitem(last=False)

    def forget(self, name: str) -> None:
        """Note that an aggregate has begun, so that its stream can be deleted."""
        if name in self._seen:
            with self._lock:
                self._seen.pop(name, None)


def is_unique(originator_id: UUID | str) -> bool:
    """Tell whether an ID, or the end of one, is a UUID that nothing had before."""
    if isinstance(originator_id, str):
        try:
            originator_id = UUID(originator_id[-_UUID_LENGTH:])
        except ValueError:
            return False
    return originator_id.version in _UNIQUE_VERSIONS


def check_begun(name: str, appended: Appended, count: int, first_version: int) -> None:
    """
    Check that the first events of an aggregate lie where a stream begins.

    Args:
        name: The stream's name.
        appended: Where they lie.
        count: How many they are.
        first_version: The version of the first one.

    Raises:
        IntegrityError: They do not, since the stream was deleted before.
    """
    last = appended.stream_position
    if last < count:
        return
    on = f"of version {first_version} on now"
    written = counted(count, f"event {on} lies", f"events {on} lie")
    msg = (
        f"Stream {name!r} was deleted and its numbering continues: the {written} at "
        f"position {last - count + 1} on, where they cannot be read as this "
        "aggregate; delete the stream again, and give the aggregate another ID"
    )
    raise IntegrityError(msg)


def _check_not_deleted(client: EventStoreDBClient, name: str) -> None:
    """
    Refuse to begin an aggregate in a stream that was soft-deleted.

    EventStoreDB would accept the events and continue to count where the deleted
    ones ended, so they would lie at other versions than they say.

    Raises:
        IntegrityError: The stream was deleted.
        OperationalError: The server could not be asked.
    """
    request = messages.stream_request(f"$${name}", None, backwards=True, limit=1)

    def attempt(seconds: float) -> bytes:
        with client_errors(f"Reading metadata of stream {name!r}"):
            metadata = b""
            for message in calls.read_messages(
                client, request, seconds, from_leader=True
            ):
                if message.HasField("event"):
                    metadata = message.event.event.data
            return metadata

    try:
        metadata = with_retries(
            client, attempt, deadline(client), reopens=True, from_leader=True
        )
    except ProgrammingError as error:
        # A user who may not read metadata can still append.
        if reason_of(error) is Reason.ACCESS_DENIED:
            return
        raise
    except IntegrityError:
        # Tombstoned: appending says so.
        return
    if _truncate_before(metadata) >= _DELETED_TRUNCATE_BEFORE:
        msg = (
            f"Stream {name!r} was deleted and its numbering continues: an aggregate "
            "with this ID cannot begin again at its first version"
        )
        raise IntegrityError(msg)


def _truncate_before(metadata: bytes) -> int:
    try:
        value = json.loads(metadata).get("$tb", 0)
    except (ValueError, AttributeError):
        return 0
    return value if isinstance(value, int) else 0
