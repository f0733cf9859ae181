"""The infrastructure factory: from environment variables to recorders."""

from __future__ import annotations

import logging
import math
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    EventStore,
    InfrastructureFactory,
    InfrastructureFactoryError,
    Mapper,
    ProcessRecorder,
    TrackingRecorder,
    Transcoder,
)

from eventsourcing_eventstoredb import client_library
from eventsourcing_eventstoredb.compression import (
    DEFAULT_LIMIT,
    limited,
    parse_limit,
)
from eventsourcing_eventstoredb.connection_settings import (
    ConnectionSettings,
    ConnectionSettingsError,
    parse_connection,
)
from eventsourcing_eventstoredb.content_types import parse_content_type
from eventsourcing_eventstoredb.mapping import Layout
from eventsourcing_eventstoredb.metadata import MetadataProvider, provider_named
from eventsourcing_eventstoredb.snapshot_store import SnapshotStore
from eventsourcing_eventstoredb.topics import (
    ANYWHERE,
    AllowlistMapper,
    TopicAllowlist,
)

if TYPE_CHECKING:
    from eventsourcing.utils import Environment, EnvType

    from eventsourcing_eventstoredb.protocol.clients import Client


logger = logging.getLogger(__name__)


class EventStoreDBFactory(InfrastructureFactory[TrackingRecorder]):
    """
    Makes recorders that keep an application's events in EventStoreDB.

    Nothing is sent to the server before the first recorder is made; factories
    with equal settings share one client.

    Attributes:
        client: The shared client of the client library, made at first use.
        settings: What the environment says about the connection.

    Raises:
        InfrastructureFactoryError: The environment has no ``EVENTSTOREDB_URI``,
            or a setting cannot be used. No password is in the message.
    """

    EVENTSTOREDB_URI = "EVENTSTOREDB_URI"
    EVENTSTOREDB_USERNAME = "EVENTSTOREDB_USERNAME"
    EVENTSTOREDB_PASSWORD = "EVENTSTOREDB_PASSWORD"  # noqa: S105  (a key, no password)
    EVENTSTOREDB_ROOT_CERTIFICATES = "EVENTSTOREDB_ROOT_CERTIFICATES"
    EVENTSTOREDB_STREAM_PREFIX = "EVENTSTOREDB_STREAM_PREFIX"
    EVENTSTOREDB_FIRST_VERSION = "EVENTSTOREDB_FIRST_VERSION"
    EVENTSTOREDB_WATCHDOG_INTERVAL = "EVENTSTOREDB_WATCHDOG_INTERVAL"
    EVENTSTOREDB_TOPIC_ALLOWLIST = "EVENTSTOREDB_TOPIC_ALLOWLIST"
    EVENTSTOREDB_EVENT_BASES = "EVENTSTOREDB_EVENT_BASES"
    EVENTSTOREDB_MAX_DECOMPRESSED = "EVENTSTOREDB_MAX_DECOMPRESSED"
    EVENTSTOREDB_CONTENT_TYPE = "EVENTSTOREDB_CONTENT_TYPE"
    EVENTSTOREDB_SNAPSHOT_MAX_COUNT = "EVENTSTOREDB_SNAPSHOT_MAX_COUNT"
    EVENTSTOREDB_NODE_PREFERENCE = "EVENTSTOREDB_NODE_PREFERENCE"
    EVENTSTOREDB_EVENT_METADATA = "EVENTSTOREDB_EVENT_METADATA"
    EVENTSTOREDB_CLIENT = client_library.VARIABLE
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"

    def __init__(self, env: Environment | EnvType | None = None) -> None:
        super().__init__(env)
        self.settings = self._connection_settings()
        self._check_client_library()
        self.originator_id_type = self._originator_id_type()
        self._stream_prefix = self._read_stream_prefix()
        self._first_version = self._read_first_version()
        self._watchdog_interval = self._read_watchdog_interval()
        self._allowlist = self._read_topic_allowlist()
        self._max_decompressed = self._read_max_decompressed()
        self._marks_json = self._read_content_type()
        self._snapshot_max_count = self._read_snapshot_max_count()
        self._metadata_provider = self._read_metadata_provider()
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        client_library.load(self.env.get(self.EVENTSTOREDB_CLIENT))
        # Loads gRPC, which takes a tenth of a second and forbids forking.
        from eventsourcing_eventstoredb.protocol.clients import acquire_client
        from eventsourcing_eventstoredb.protocol.errors import client_errors

        with self._lock:
            if self._client is None:
                with client_errors(self.settings.address):
                    self._client = acquire_client(self.settings)
            return self._client

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Make a recorder of aggregates' events, or of their ``snapshots``."""
        from eventsourcing_eventstoredb.recorders import EventStoreDBAggregateRecorder

        return EventStoreDBAggregateRecorder(
            self.client,
            for_snapshotting=purpose == "snapshots",
            layout=self._layout(),
            marks_json=self._marks_json,
            metadata_provider=self._metadata_provider,
            snapshot_max_count=self._snapshot_max_count,
        )

    def application_recorder(self) -> ApplicationRecorder:
        """Make a recorder of events that also reads all streams in one order."""
        from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder

        return EventStoreDBApplicationRecorder(
            self.client,
            originator_id_type=self.originator_id_type,
            layout=self._layout(),
            marks_json=self._marks_json,
            watchdog_interval=self._watchdog_interval,
            allowlist=self._allowlist,
            metadata_provider=self._metadata_provider,
        )

    def mapper(
        self,
        transcoder: Transcoder | None = None,
        mapper_class: type[Mapper[Any]] | None = None,
    ) -> Mapper[Any]:
        """Make the mapper that is configured, for allowed topics and bounded data."""
        mapper = super().mapper(transcoder, mapper_class)
        warn = _warn_that_topics_are_free if self._topics_are_free else None
        guarded = AllowlistMapper(mapper, self._allowlist, warn)
        # Of the one inside, which does the work; the other's is what was configured.
        mapper.compressor = limited(mapper.compressor, self._max_decompressed)
        return guarded

    def event_store(
        self,
        mapper: Mapper[Any] | None = None,
        recorder: AggregateRecorder | None = None,
    ) -> EventStore[Any]:
        """Make an event store; one of snapshots passes over what is undecodable."""
        if recorder is not None and getattr(recorder, "for_snapshotting", False):
            return SnapshotStore(mapper or self.mapper(), recorder)
        return super().event_store(mapper, recorder)

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        """EventStoreDB keeps no tracking records: raises NotImplementedError."""
        raise NotImplementedError(_NO_TRACKING)

    def process_recorder(self) -> ProcessRecorder:
        """EventStoreDB keeps no tracking records: raises NotImplementedError."""
        raise NotImplementedError(_NO_TRACKING)

    def close(self) -> None:
        """Give up the client; it is closed when no other factory uses it."""
        with self._lock:
            client, self._client = self._client, None
        if client is None:
            return
        try:
            from eventsourcing_eventstoredb.protocol.clients import release_client
        except ImportError:
            # Collected when the interpreter has all but ended: nothing can be
            # imported any more, and clients were closed at exit.
            return
        release_client(self.settings)

    def _connection_settings(self) -> ConnectionSettings:
        uri = self.env.get(self.EVENTSTOREDB_URI)
        if not uri:
            keys = " or ".join(self.env.create_keys(self.EVENTSTOREDB_URI))
            msg = (
                f"No EventStoreDB connection string: set {keys}, "
                f"for example to esdb://localhost:2113?Tls=false"
            )
            raise InfrastructureFactoryError(msg)
        try:
            return parse_connection(
                uri,
                username=self.env.get(self.EVENTSTOREDB_USERNAME),
                password=self.env.get(self.EVENTSTOREDB_PASSWORD),
                root_certificates=self.env.get(self.EVENTSTOREDB_ROOT_CERTIFICATES),
                node_preference=self.env.get(self.EVENTSTOREDB_NODE_PREFERENCE),
            )
        except ConnectionSettingsError as error:
            msg = f"Cannot use {self.EVENTSTOREDB_URI}: {error}"
            raise InfrastructureFactoryError(msg) from None

    def _check_client_library(self) -> None:
        try:
            client_library.choose(self.env.get(self.EVENTSTOREDB_CLIENT))
        except client_library.ClientLibraryError as error:
            msg = f"Cannot use EventStoreDB: {error}"
            raise InfrastructureFactoryError(msg) from None

    def _layout(self) -> Layout:
        return Layout(self._stream_prefix, self._first_version)

    def _read_stream_prefix(self) -> str:
        prefix = self.env.get(self.EVENTSTOREDB_STREAM_PREFIX) or ""
        if not re.fullmatch("[A-Za-z0-9_]*", prefix):
            msg = (
                f"{self.EVENTSTOREDB_STREAM_PREFIX} is {prefix!r}, but must consist of "
                "letters, digits and underscores"
            )
            raise InfrastructureFactoryError(msg)
        return prefix

    def _read_first_version(self) -> int:
        version = self.env.get(self.EVENTSTOREDB_FIRST_VERSION) or "0"
        if version not in ("0", "1"):
            name = self.EVENTSTOREDB_FIRST_VERSION
            msg = f"{name} is {version!r}, but must be 0 or 1"
            raise InfrastructureFactoryError(msg)
        return int(version)

    def _read_watchdog_interval(self) -> float:
        interval = self.env.get(self.EVENTSTOREDB_WATCHDOG_INTERVAL) or "20"
        try:
            seconds = float(interval)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < math.inf:
            msg = (
                f"{self.EVENTSTOREDB_WATCHDOG_INTERVAL} is {interval!r}, but must be "
                "a number of seconds above 0"
            )
            raise InfrastructureFactoryError(msg)
        return seconds

    def _read_max_decompressed(self) -> int:
        text = self.env.get(self.EVENTSTOREDB_MAX_DECOMPRESSED)
        try:
            return parse_limit(text) if text else DEFAULT_LIMIT
        except ValueError as error:
            msg = f"{self.EVENTSTOREDB_MAX_DECOMPRESSED} {error}"
            raise InfrastructureFactoryError(msg) from None

    def _read_snapshot_max_count(self) -> int | None:
        name = self.EVENTSTOREDB_SNAPSHOT_MAX_COUNT
        text = self.env.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            msg = f"{name} is {text!r}, but must be a whole number from 1 on"
            raise InfrastructureFactoryError(msg)
        return int(text)

    def _read_content_type(self) -> bool:
        name = self.EVENTSTOREDB_CONTENT_TYPE
        try:
            marks_json = parse_content_type(self.env.get(name))
        except ValueError as error:
            raise InfrastructureFactoryError(f"{name} {error}") from None
        # What is encrypted may be JSON on the outside.
        return marks_json and not any(
            self.env.get(key)
            for key in (self.CIPHER_TOPIC, "CIPHER_KEY", self.COMPRESSOR_TOPIC)
        )

    def _read_metadata_provider(self) -> MetadataProvider | None:
        name = self.env.get(self.EVENTSTOREDB_EVENT_METADATA)
        try:
            return provider_named(name) if name else None
        except ValueError as error:
            msg = f"{self.EVENTSTOREDB_EVENT_METADATA} cannot be used: {error}"
            raise InfrastructureFactoryError(msg) from error

    def _read_topic_allowlist(self) -> TopicAllowlist:
        text = self.env.get(self.EVENTSTOREDB_TOPIC_ALLOWLIST)
        self._topics_are_free = not text
        text = text or ANYWHERE
        bases = self.env.get(self.EVENTSTOREDB_EVENT_BASES) or ""
        try:
            return TopicAllowlist.parse(text, bases)
        except ValueError as error:
            msg = f"{self.EVENTSTOREDB_TOPIC_ALLOWLIST} {error}"
            raise InfrastructureFactoryError(msg) from None

    def _originator_id_type(self) -> type | None:
        name = self.env.get(self.ORIGINATOR_ID_TYPE)
        if name is None:
            return None
        types = {"uuid": UUID, "text": str}
        if name.lower() not in types:
            msg = f"{self.ORIGINATOR_ID_TYPE} is {name!r}, but must be 'uuid' or 'text'"
            raise InfrastructureFactoryError(msg)
        return types[name.lower()]


@lru_cache(maxsize=1)
def _warn_that_topics_are_free() -> None:
    # Once in a process: applications are made in every test and every request.
    logger.warning(
        "EVENTSTOREDB_TOPIC_ALLOWLIST is not set, so who can write to the event store "
        "can have any installed module imported: set it to the modules of your "
        "events, or to %s if that is meant to be",
        ANYWHERE,
    )


_NO_TRACKING = (
    "EventStoreDB keeps no tracking records: give the projection a persistence "
    "module of its own, such as django_esdb.persistence"
)

Factory = EventStoreDBFactory
