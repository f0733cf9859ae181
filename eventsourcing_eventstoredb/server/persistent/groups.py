"""
All groups of a server: their configuration, and the thread that keeps them going.

The configuration is the last event of a stream, as in EventStoreDB. The thread starts
with the first consumer; it wakes for new events and once a second for time-outs.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Final

from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.persistent import progress
from eventsourcing_eventstoredb.server.persistent.consumers import Consumer
from eventsourcing_eventstoredb.server.persistent.errors import (
    GroupExistsError,
    GroupFailedError,
    GroupMissingError,
)
from eventsourcing_eventstoredb.server.persistent.group import Group
from eventsourcing_eventstoredb.server.persistent.settings import (
    ALL,
    FROM_END,
    STRATEGIES,
    GroupSettings,
)
from eventsourcing_eventstoredb.server.storage.metadata import metadata_stream_of
from eventsourcing_eventstoredb.server.storage.notifications import Listener
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    METADATA_TYPE,
    NewEvent,
)

logger = logging.getLogger(__name__)

CONFIGURATION_STREAM: Final = "$persistentSubscriptionConfig"
CONFIGURATION_TYPE: Final = "$PersistentConfig"

TICK: Final = 1.0


class Groups:
    """The groups of one server. All methods may be called from any thread."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.RLock()
        self._listener = Listener()
        self._thread: threading.Thread | None = None
        self._groups: dict[str, Group] = {}
        # Also those whose groups have been deleted since the groups were loaded.
        self._sources: set[str] = set()
        self._load()

    def create(self, settings: GroupSettings) -> None:
        """
        Make a group.

        Raises:
            GroupExistsError: There is one of this name on this source.
            GroupFailedError: The settings make no sense.
        """
        with self._lock:
            self._check(settings)
            if settings.id in self._groups:
                raise GroupExistsError(settings.source, settings.group)
            _check_sizes(settings)
            # The end before the configuration is written: to a group that begins at
            # the end of the whole log that is the first new event, as in EventStoreDB.
            settings = dataclasses.replace(settings, begin=self._begin(settings))
            self._store([*self._all_settings(), settings])
            self._groups[settings.id] = self._make(settings)

    def update(self, settings: GroupSettings) -> None:
        """
        Give a group new settings; its consumers are dropped, its filter stays.

        Raises:
            GroupMissingError: There is no such group.
            GroupFailedError: The settings make no sense.
        """
        with self._lock:
            old = self.get(settings.source, settings.group)
            self._check(settings)
            _check_sizes(settings)
            settings = dataclasses.replace(
                settings, begin=self._begin(settings), filter=old.settings.filter
            )
            self._store(
                settings if one.id == settings.id else one
                for one in self._all_settings()
            )
            old.drop()
            self._groups[settings.id] = self._make(settings)

    def delete(self, source: str, group: str) -> None:
        """
        Delete a group with its checkpoint and its parked events.

        Raises:
            GroupMissingError: There is no such group.
        """
        with self._lock:
            old = self.get(source, group)
            del self._groups[old.settings.id]
            self._store(self._all_settings())
            old.drop()
            progress.forget(self._writer, old.settings)

    def get(self, source: str, group: str) -> Group:
        """
        Find a group.

        Raises:
            GroupMissingError: There is none.
        """
        with self._lock:
            found = self._groups.get(f"{source}::{group}")
        if found is None:
            raise GroupMissingError(source, group)
        return found

    def of_source(self, source: str | None = None) -> list[Group]:
        """
        List the groups, all or those of one source.

        Raises:
            GroupMissingError: The source has had no group since they were loaded.
        """
        with self._lock:
            if source is not None and source not in self._sources:
                raise GroupMissingError(source, "")
            return [
                group
                for group in self._groups.values()
                if source in (None, group.settings.source)
            ]

    def join(self, source: str, name: str, consumer: Consumer) -> Group:
        """Add a consumer to a group and start to serve it."""
        with self._lock:
            group = self.get(source, name)
            group.join(consumer)
            if self._thread is None:
                self._reader.log.notifier.add(self._listener)
                self._thread = threading.Thread(
                    target=self._run, name="esdb-persistent-subscriptions", daemon=True
                )
                self._thread.start()
        return group

    def restart(self) -> None:
        """Drop all consumers and load everything again."""
        with self._lock:
            for group in self._groups.values():
                group.drop()
            self._load()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._listener.close()
        if self._thread is not None:
            self._thread.join()
            self._reader.log.notifier.remove(self._listener)

    def _run(self) -> None:
        next_tick = time.monotonic() + TICK
        while self._listener.wait(max(0.0, next_tick - time.monotonic())):
            self._listener.clear()
            is_tick = time.monotonic() >= next_tick
            if is_tick:
                next_tick = time.monotonic() + TICK
            for group in self.of_source():
                try:
                    if is_tick:
                        group.tick()
                    else:
                        group.push()
                except Exception:
                    # One group's trouble must not end the others' thread.
                    logger.exception("A persistent subscription failed.")

    def _check(self, settings: GroupSettings) -> None:
        source, group = settings.source, settings.group
        if settings.strategy not in STRATEGIES:
            raise GroupFailedError(
                source, group, f"Consumer strategy {settings.strategy} does not exist."
            )
        last_position = self._reader.log.last_position()
        if settings.reads_all and settings.start_from > last_position:
            raise GroupFailedError(
                source,
                group,
                "Invalid Start From position: commit position must be less than or"
                " equal to the last commit position in the transaction file.",
            )

    def _begin(self, settings: GroupSettings) -> int:
        if settings.start_from != FROM_END:
            return settings.start_from
        if settings.source == ALL:
            return self._reader.log.end
        stream = self._reader.log.stream(settings.source)
        return 0 if stream is None else stream.last_number + 1

    def _make(self, settings: GroupSettings) -> Group:
        self._sources.add(settings.source)
        return Group(settings, self._reader, self._writer)

    def _all_settings(self) -> list[GroupSettings]:
        return [group.settings for group in self._groups.values()]

    def _load(self) -> None:
        record = self._reader.log.last_event(CONFIGURATION_STREAM)
        content = json.loads(record.data) if record is not None else {"entries": []}
        self._sources.clear()
        loaded = [GroupSettings.from_json(entry) for entry in content["entries"]]
        self._groups = {settings.id: self._make(settings) for settings in loaded}

    def _store(self, settings: Iterable[GroupSettings]) -> None:
        content = {
            "version": "2",
            "entries": [one.to_json() for one in settings],
        }
        if self._reader.log.stream(CONFIGURATION_STREAM) is None:
            self._append(
                metadata_stream_of(CONFIGURATION_STREAM),
                METADATA_TYPE,
                {"$maxCount": 2},
            )
        self._append(CONFIGURATION_STREAM, CONFIGURATION_TYPE, content)

    def _append(self, stream: str, event_type: str, content: object) -> None:
        data = json.dumps(content).encode()
        event = NewEvent(uuid.uuid4().bytes, event_type, True, data)
        self._writer.append(stream, ANY, [event])


def _check_sizes(settings: GroupSettings) -> None:
    if settings.read_batch_size >= settings.history_buffer_size:
        raise GroupFailedError(
            settings.source,
            settings.group,
            "Specified argument was out of the range of valid values. (Parameter"
            " 'ReadBatchSize may not be greater than or equal to BufferSize')",
        )
