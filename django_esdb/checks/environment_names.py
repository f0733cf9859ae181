"""Keys that are passed on to the library, and that nothing reads: likely misspelt."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.utils.translation import gettext as _
from eventsourcing.application import Application

from django_esdb.checks.misspelt import nearest, suggestion
from django_esdb.conf import MODULE_KEYS, settings
from django_esdb.registry import registry
from eventsourcing_eventstoredb.factory import EventStoreDBFactory
from eventsourcing_eventstoredb.text import quoted

_OURS = "EVENTSTOREDB_"
OUR_NAMES = frozenset(
    value
    for name, value in vars(EventStoreDBFactory).items()
    if name.startswith(_OURS) and isinstance(value, str)
)
# Of the library and its own persistence modules, some of which need packages that may
# be missing. With what comes with them for the compressor and the cipher.
LIBRARY_NAMES = frozenset(
    (
        *MODULE_KEYS,
        "AGGREGATE_CACHE_FASTFORWARD",
        "AGGREGATE_CACHE_FASTFORWARD_SKIPPING",
        "AGGREGATE_CACHE_MAXSIZE",
        "APPLICATION_RECORDER_TOPIC",
        "CIPHER_KEY",
        "CIPHER_TOPIC",
        "COMPRESSOR_TOPIC",
        "CREATE_TABLE",
        "DEEPCOPY_FROM_AGGREGATE_CACHE",
        "IS_SNAPSHOTTING_ENABLED",
        "MAPPER_TOPIC",
        "ORIGINATOR_ID_TYPE",
        "POSTGRES_CONNECT_TIMEOUT",
        "POSTGRES_CONN_MAX_AGE",
        "POSTGRES_DBNAME",
        "POSTGRES_ENABLE_DB_FUNCTIONS",
        "POSTGRES_GET_PASSWORD_TOPIC",
        "POSTGRES_HOST",
        "POSTGRES_IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "POSTGRES_LOCK_TIMEOUT",
        "POSTGRES_MAX_OVERFLOW",
        "POSTGRES_MAX_WAITING",
        "POSTGRES_PASSWORD",
        "POSTGRES_POOL_SIZE",
        "POSTGRES_PORT",
        "POSTGRES_PRE_PING",
        "POSTGRES_SCHEMA",
        "POSTGRES_USER",
        "PROCESS_RECORDER_TOPIC",
        "SINGLE_ROW_TRACKING",
        "SQLITE_DBNAME",
        "SQLITE_LOCK_TIMEOUT",
        "TRACKING_RECORDER_TOPIC",
        "TRANSCODER_TOPIC",
    )
)
_NAMES = OUR_NAMES | LIBRARY_NAMES
# How much a key has to be like a name to be taken for it: keys may be anybody's.
_ALIKE = 0.8
# Of what comes after EVENTSTOREDB_, where it is about few names.
_ALIKE_REST = 0.6


def check_environment_names() -> Iterator[CheckMessage]:
    """Keys that are like the names that there are, and are none, should be these."""
    env: object = settings.ESDB_ENV
    given: dict[str, object] = {"ESDB_ENV": env}
    for cls in sorted(
        {each.application_class for each in registry}, key=lambda cls: cls.name
    ):
        given[f"{cls.__qualname__}.env"] = cls.env
    prefixes = _prefixes()
    for place, variables in given.items():
        # Another check says that it is no dictionary.
        keys = variables if isinstance(variables, Mapping) else ()
        for key in keys:
            if isinstance(key, str):
                yield from _check(place, key, prefixes)
    for key in sorted(os.environ):
        # What is alike is ours; else a service of this name in Kubernetes has some.
        if key.startswith(_OURS) and key not in _NAMES and _nearest_of_ours(key):
            yield from _check(_("The process's environment"), key, prefixes)


def _check(place: str, key: str, prefixes: Collection[str]) -> Iterator[CheckMessage]:
    own = [prefix for prefix in prefixes if key.startswith(prefix)]
    if key in _NAMES or any(key.removeprefix(prefix) in _NAMES for prefix in own):
        return
    meant = _meant(key, prefixes)
    if meant is None and not key.startswith(_OURS):
        # It may be read by a class of the project's own.
        return
    yield Warning(
        _("%(place)s has %(name)s, which nothing reads.")
        % {"place": place, "name": quoted(key)},
        hint=(
            _("The names are %(names)s.") % {"names": ", ".join(sorted(OUR_NAMES))}
            if meant is None
            else suggestion(meant)
        ),
        id="django_esdb.W014",
    )


def _meant(key: str, prefixes: Collection[str]) -> str | None:
    """Return the name that a key is likely meant to be, None if it may be another."""
    if (ours := _nearest_of_ours(key)) is not None:
        return ours
    rest = next((name for name in _NAMES if key.endswith(f"_{name}")), None)
    if rest is not None:
        # For an application of a name that is not known here, unless it is like one.
        prefix = nearest(key[: -len(rest)], prefixes, _ALIKE)
        return None if prefix is None else f"{prefix}{rest}"
    with_prefixes = (f"{prefix}{name}" for prefix in prefixes for name in _NAMES)
    return nearest(key, (*_NAMES, *with_prefixes), _ALIKE)


def _nearest_of_ours(key: str) -> str | None:
    prefix, ours, rest = key.upper().partition(_OURS)
    if not ours:
        return None
    found = nearest(rest, (name.removeprefix(_OURS) for name in OUR_NAMES), _ALIKE_REST)
    exact = f"{prefix}{ours}{rest}" == key and found == rest
    return None if found is None or exact else f"{prefix}{ours}{found}"


def _prefixes() -> set[str]:
    """Return what keys begin with that are for one application or projection alone."""
    names = {each.name for each in registry}
    classes: list[type[Application[Any]]] = Application.__subclasses__()
    for cls in classes:
        names.add(cls.name)
        classes.extend(cls.__subclasses__())
    return {f"{name.upper()}_" for name in names}
