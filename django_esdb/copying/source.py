"""The store that events are copied from; it is only read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactoryError,
    Notification,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.popo import POPOFactory

from django_esdb.applications.shared import make_application
from django_esdb.conf import MODULE_KEYS, PERSISTENCE_MODULE, build_env
from django_esdb.exceptions import ConfigurationError
from django_esdb.masking import STARS, Masked, has_password, masked
from eventsourcing_eventstoredb.copying.copies import CopyError
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.text import named_line, one_line, quoted

TStoredEvent = TypeVar("TStoredEvent", bound=StoredEvent)

_PAGE = 100
_SNAPSHOTS_PAGE = 20
_SQLITE_DBNAME = "SQLITE_DBNAME"
_PASSWORD = re.compile(r"passw(or)?d\s*=", re.IGNORECASE)


class Source:
    """
    Reads an application's events and snapshots, page by page.

    Whatever goes wrong there is a CopyError, since any persistence module may raise
    anything.

    Args:
        application: Made with the source's environment; the caller's to close.
        given: What was said about the source; no secret of it is in an error.
    """

    def __init__(self, application: Application[Any], given: Mapping[str, str]) -> None:
        self.application = application
        self._given = given
        self._recorder: ApplicationRecorder = application.recorder
        self._snapshots: AggregateRecorder | None = None
        id_type = application.env.get("ORIGINATOR_ID_TYPE") or ""
        self._has_text_ids = id_type.lower() == "text"

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Databases' drivers raise errors of their own, too.
            text = without_secrets(one_line(error), self._given)
            hint = ""
            if isinstance(error, ValueError) and "UUID" in str(error):
                hint = "; are its IDs texts? Then say ORIGINATOR_ID_TYPE=text"
            msg = f"Cannot read the source: {text}{hint}"
            raise CopyError(msg) from None

    def last_id(self) -> int:
        """Return the last notification's ID, 0 if there is none."""
        with self._reading():
            return self._recorder.max_notification_id() or 0

    def events(self, stop: int | None = None) -> Iterator[Notification]:
        """Yield all events in the order of their notification IDs, up to *stop*."""
        last: int | None = None
        while True:
            with self._reading():
                page = self._recorder.select_notifications(
                    last, _PAGE, stop, inclusive_of_start=False
                )
            yield from map(self._with_id, page)
            if len(page) < _PAGE:
                return
            last = page[-1].id

    def first_version(self, originator_id: UUID | str) -> int | None:
        """Return the version of an aggregate's first event, None if it has none."""
        with self._reading():
            found = self._recorder.select_events(originator_id, limit=1)
        return found[0].originator_version if found else None

    def find_snapshots(self, originator_id: UUID | str) -> str:
        """
        Look whether the source keeps snapshots; without this none are read.

        Args:
            originator_id: Of any aggregate.

        Returns:
            Why there are none to read; empty if there may be some.
        """
        # Also where the application takes none now: the table tells.
        try:
            recorder = self.application.factory.aggregate_recorder("snapshots")
            recorder.select_events(originator_id, limit=1)
        except Exception as error:
            # As different as the stores are that have no such table.
            return without_secrets(one_line(error), self._given)
        self._snapshots = recorder
        return ""

    def snapshots(self, originator_id: UUID | str) -> Iterator[StoredEvent]:
        """Yield an aggregate's snapshots in the order of their versions."""
        if self._snapshots is None:
            return
        last: int | None = None
        while True:
            with self._reading():
                page = self._snapshots.select_events(
                    originator_id, gt=last, limit=_SNAPSHOTS_PAGE
                )
            yield from map(self._with_id, page)
            if len(page) < _SNAPSHOTS_PAGE:
                return
            last = page[-1].originator_version

    def _with_id(self, event: TStoredEvent) -> TStoredEvent:
        originator_id = event.originator_id
        if self._has_text_ids or isinstance(originator_id, UUID):
            return event
        # The library before 9.5 leaves it to the event's class to make the UUID.
        try:
            return replace(event, originator_id=UUID(originator_id))
        except ValueError:
            return event


@contextmanager
def opened_source(
    application_class: type[Application[Any]], given: Mapping[str, str]
) -> Iterator[Source]:
    """
    Open the store that an application had, for the time of the block.

    No table is created there, and no file.

    Args:
        application_class: Whose events they are.
        given: The environment that the application had: ``PERSISTENCE_MODULE`` and
            what that module asks for. All else, such as a cipher, is as in the
            settings and in the process's environment.

    Raises:
        ConfigurationError: This names no store that can be read.
        CopyError: The store cannot be used now.
    """
    env = source_env(application_class, given)
    _check(env)
    try:
        application = make_application(application_class, env)
    except (ConfigurationError, InfrastructureFactoryError) as error:
        text = without_secrets(one_line(error), given)
        raise ConfigurationError(f"Cannot open the source: {text}") from None
    except PersistenceError as error:
        text = without_secrets(one_line(error), given)
        raise CopyError(f"Cannot open the source: {text}") from None
    except Exception as error:
        # Whatever the import of a module, or its driver, raises.
        text = without_secrets(named_line(error), given)
        raise ConfigurationError(f"Cannot open the source: {text}") from None
    with closing(application):
        if isinstance(application.recorder, EventStoreDBApplicationRecorder):
            msg = "The source is EventStoreDB itself: name another PERSISTENCE_MODULE"
            raise ConfigurationError(msg)
        if type(application.factory) is POPOFactory:
            msg = (
                "The source keeps events in the memory of its own process, where "
                "there is nothing to copy from: name another PERSISTENCE_MODULE"
            )
            raise ConfigurationError(msg)
        yield Source(application, given)


def source_env(
    application_class: type[Application[Any]], given: Mapping[str, str]
) -> dict[str, str]:
    """Return an application's environment with what was said about the source."""
    prefix = f"{application_class.name.upper()}_"
    bare = {key.removeprefix(prefix): value for key, value in given.items()}
    bare.setdefault("CREATE_TABLE", "n")
    env = build_env(application_class)
    for key in MODULE_KEYS:
        env.pop(key, None)
        env.pop(prefix + key, None)
    for key, value in bare.items():
        # Both, since the one with the application's name counts more, wherever it is.
        env[key] = env[prefix + key] = Masked(key, value)
    return env


def without_secrets(text: str, given: Mapping[str, str]) -> str:
    """Return a text with stars for each value that is secret."""
    for key, value in given.items():
        if value and is_secret(key, value):
            text = text.replace(value, STARS)
    return text


def is_secret(key: str, value: str) -> bool:
    """Tell whether a value, or a part of it, is not to be shown."""
    return (
        masked(key, value) != value
        or has_password(value)
        or bool(_PASSWORD.search(value))
    )


def _check(env: Mapping[str, str]) -> None:
    module = env.get("PERSISTENCE_MODULE")
    if not module:
        msg = (
            "Say which store the events are in: --from PERSISTENCE_MODULE=..., such as "
            "eventsourcing.sqlite, and what that module asks for"
        )
        raise ConfigurationError(msg)
    if module.partition(":")[0] == PERSISTENCE_MODULE:
        msg = "The source is EventStoreDB itself: name another PERSISTENCE_MODULE"
        raise ConfigurationError(msg)
    name = env.get(_SQLITE_DBNAME, "")
    # SQLite makes a file that is not there.
    if (
        module == "eventsourcing.sqlite"
        and name
        and not name.startswith("file:")
        and not Path(name).is_file()
    ):
        msg = f"There is no file {quoted(name)}, which {_SQLITE_DBNAME} names"
        raise ConfigurationError(msg)
