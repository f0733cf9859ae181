"""The infrastructure factory: from environment variables to recorders."""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

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

from eventsourcing_eventstoredb import client_library, environment
from eventsourcing_eventstoredb.connection_settings import (
    ConnectionSettings,
    ConnectionSettingsError,
    parse_connection,
)
from eventsourcing_eventstoredb.encoding.compression import limited
from eventsourcing_eventstoredb.encoding.json_decoding import quicken
from eventsourcing_eventstoredb.snapshots.snapshot_store import SnapshotStore
from eventsourcing_eventstoredb.streams.mapping import Layout
from eventsourcing_eventstoredb.topics.allowlist import (
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
        self.originator_id_type = environment.originator_id_type(
            self.env, self.ORIGINATOR_ID_TYPE
        )
        self._layout = Layout(
            environment.stream_prefix(self.env, self.EVENTSTOREDB_STREAM_PREFIX),
            environment.first_version(self.env, self.EVENTSTOREDB_FIRST_VERSION),
        )
        self._watchdog_interval = environment.watchdog_interval(
            self.env, self.EVENTSTOREDB_WATCHDOG_INTERVAL
        )
        self._allowlist = self._read_topic_allowlist()
        self._max_decompressed = environment.max_decompressed(
            self.env, self.EVENTSTOREDB_MAX_DECOMPRESSED
        )
        self._marks_json = self._may_mark_json()
        self._snapshot_max_count = environment.snapshot_max_count(
            self.env, self.EVENTSTOREDB_SNAPSHOT_MAX_COUNT
        )
        self._metadata_provider = environment.metadata_provider(
            self.env, self.EVENTSTOREDB_EVENT_METADATA
        )
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        client_library.load(self.env.get(self.EVENTSTOREDB_CLIENT))
        # Loads gRPC, which takes a tenth of a second and forbids forking.
        from eventsourcing_eventstoredb.protocol.errors import client_errors
        from eventsourcing_eventstoredb.protocol.shared_clients import acquire_client

        with self._lock:
            if self._client is None:
                with client_errors(self.settings.address):
                    self._client = acquire_client(self.settings)
            return self._client

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Make a recorder of aggregates' events, or of their ``snapshots``."""
        from eventsourcing_eventstoredb.recorders.application import (
            EventStoreDBAggregateRecorder,
        )

        return EventStoreDBAggregateRecorder(
            self.client,
            for_snapshotting=purpose == "snapshots",
            layout=self._layout,
            marks_json=self._marks_json,
            metadata_provider=self._metadata_provider,
            snapshot_max_count=self._snapshot_max_count,
        )

    def application_recorder(self) -> ApplicationRecorder:
        """Make a recorder of events that also reads all streams in one order."""
        from eventsourcing_eventstoredb.recorders.application import (
            EventStoreDBApplicationRecorder,
        )

        return EventStoreDBApplicationRecorder(
            self.client,
            originator_id_type=self.originator_id_type,
            layout=self._layout,
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
        quicken(mapper.transcoder)
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
            from eventsourcing_eventstoredb.protocol.shared_clients import (
                release_client,
            )
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

    def _may_mark_json(self) -> bool:
        # What is encrypted may be JSON on the outside.
        return environment.marks_json(
            self.env, self.EVENTSTOREDB_CONTENT_TYPE
        ) and not any(
            self.env.get(key)
            for key in (self.CIPHER_TOPIC, "CIPHER_KEY", self.COMPRESSOR_TOPIC)
        )

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
