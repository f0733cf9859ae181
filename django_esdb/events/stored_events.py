"""
An application's stored events, for people who look at them.

Nothing is made of an event's topic: its payload is decrypted, decompressed and taken
apart, as the application's mapper does, and no further.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper

from django_esdb.applications.shared import make_application
from django_esdb.conf import build_env, settings
from django_esdb.events.payload_redaction import redacted
from django_esdb.exceptions import ConfigurationError, RedactionError
from eventsourcing_eventstoredb.browsing.browser import BrowsedEvent, StoreBrowser
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.text import named_line

COMPRESSED = "compressed"
ENCRYPTED = "encrypted"


@dataclass(frozen=True)
class Payload:
    """
    What an event says.

    Attributes:
        value: What JSON can say; None where it cannot be read.
        marks: ``compressed`` and ``encrypted``, where it is stored like that.
        problem: Why it cannot be read; empty if it can.
    """

    value: Any
    marks: tuple[str, ...] = ()
    problem: str = ""


class StoredEvents:
    """
    Reads the events of an application.

    Args:
        application: On EventStoreDB; it stays the caller's to close.

    Attributes:
        browser: Pages of events, newest first.

    Raises:
        ConfigurationError: The application keeps its events elsewhere.
    """

    def __init__(self, application: Application[Any]) -> None:
        recorder = application.recorder
        if not isinstance(recorder, EventStoreDBApplicationRecorder):
            msg = (
                f"{type(application).__name__} keeps its events elsewhere than in "
                "EventStoreDB, where alone they can be looked at"
            )
            raise ConfigurationError(msg)
        self._application = application
        self._recorder = recorder
        self.browser = StoreBrowser(recorder.client, recorder.layout)

    def head(self) -> int | None:
        """
        Return the position of the store's last event, whosever it is; None for none.

        Raises:
            eventsourcing.persistence.OperationalError: The store could not be asked.
        """
        last = self._recorder.log_head()
        return None if last is None else last.position

    def payload(self, event: BrowsedEvent) -> Payload:
        """Return what may be shown of an event; raises no error for what is stored."""
        return payload_of(self._application, event.topic, event.data)


def payload_of(application: Application[Any], topic: str, data: bytes) -> Payload:
    """
    Return what may be shown of an event; never raises an error for what is stored.

    Args:
        application: Whose event it is.
        topic: Its topic.
        data: What is stored of it.
    """
    payload = _decoded(application.mapper, data)
    if payload.problem:
        return payload
    try:
        return replace(payload, value=redacted(topic, payload.value))
    except RedactionError as error:
        return Payload(None, payload.marks, str(error))


def _decoded(mapper: Mapper[Any], stored: bytes) -> Payload:
    if stored == b"":
        return Payload({})
    try:
        data = stored
        marks = []
        if mapper.cipher is not None:
            data = mapper.cipher.decrypt(data)
            marks.append(ENCRYPTED)
        if mapper.compressor is not None:
            data = mapper.compressor.decompress(data)
            marks.append(COMPRESSED)
        return Payload(_plain(mapper.transcoder.decode(data)), tuple(marks))
    except Exception as error:
        # Whatever ciphers and transcodings raise.
        problem = error
    try:
        # Not this application's, or of a time before it was compressed.
        return Payload(_plain(json.loads(stored)))
    except (ValueError, RecursionError):
        return Payload(None, (), _reason(problem))


def _reason(problem: Exception) -> str:
    """Return why a payload cannot be read; a text may repeat some of it."""
    if settings.ESDB_PAYLOAD_REDACTION is not None:
        return type(problem).__name__
    return named_line(problem)


@contextmanager
def stored_events(application_class: type[Application[Any]]) -> Iterator[StoredEvents]:
    """
    Read an application's events within the block, with the settings as they are.

    Raises:
        eventsourcing.persistence.InfrastructureFactoryError: The settings do not say
            where the events are, or cannot be used.
        django_esdb.exceptions.ConfigurationError: A setting is malformed, or the
            application keeps its events elsewhere.
    """
    application = make_application(application_class, build_env(application_class))
    with closing(application):
        yield StoredEvents(application)


def as_json(event: BrowsedEvent, payload: Payload) -> dict[str, Any]:
    """Return an event as JSON can say it; what is stored is not shortened."""
    return {
        "position": event.position,
        "time": None if event.time is None else event.time.isoformat(),
        "stream": event.stream,
        "stream_position": event.stream_position,
        "kind": "snapshot" if event.is_snapshot else "event",
        "topic": event.topic,
        "id": event.event_id,
        "metadata": event.metadata,
        "payload": payload.value,
        "stored_as": list(payload.marks),
        "problem": payload.problem,
    }


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value that was transcoded."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)
