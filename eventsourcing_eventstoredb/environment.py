"""
What single variables of an application's environment say.

Each function takes the environment and the variable's name, and raises
InfrastructureFactoryError, which names both, if the value cannot be used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactoryError

from eventsourcing_eventstoredb.encoding.compression import DEFAULT_LIMIT, parse_limit
from eventsourcing_eventstoredb.encoding.content_types import parse_content_type
from eventsourcing_eventstoredb.metadata import MetadataProvider, provider_named
from eventsourcing_eventstoredb.streams.mapping import STREAM_PREFIX

if TYPE_CHECKING:
    from eventsourcing.utils import Environment

# Seconds.
WATCHDOG_INTERVAL = 20.0
_ID_TYPES = {"uuid": UUID, "text": str}


def stream_prefix(env: Environment, name: str) -> str:
    """Return what streams' names begin with; maybe empty."""
    prefix = env.get(name) or ""
    if not STREAM_PREFIX.fullmatch(prefix):
        msg = (
            f"{name} is {prefix!r}, but must consist of letters, digits and underscores"
        )
        raise InfrastructureFactoryError(msg)
    return prefix


def first_version(env: Environment, name: str) -> int:
    """Return the version of aggregates' first events, 0 by default."""
    version = env.get(name) or "0"
    if version not in ("0", "1"):
        msg = f"{name} is {version!r}, but must be 0 or 1"
        raise InfrastructureFactoryError(msg)
    return int(version)


def watchdog_interval(env: Environment, name: str) -> float:
    """Return the seconds of silence after which a subscription asks the server."""
    interval = env.get(name)
    if not interval:
        return WATCHDOG_INTERVAL
    try:
        seconds = float(interval)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        msg = f"{name} is {interval!r}, but must be a number of seconds above 0"
        raise InfrastructureFactoryError(msg)
    return seconds


def max_decompressed(env: Environment, name: str) -> int:
    """Return the most bytes that data may have when they are decompressed."""
    text = env.get(name)
    try:
        return parse_limit(text) if text else DEFAULT_LIMIT
    except ValueError as error:
        raise InfrastructureFactoryError(f"{name} {error}") from None


def snapshot_max_count(env: Environment, name: str) -> int | None:
    """Return how many snapshots of an aggregate are kept, None for all."""
    text = env.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        msg = f"{name} is {text!r}, but must be a whole number from 1 on"
        raise InfrastructureFactoryError(msg)
    return int(text)


def marks_json(env: Environment, name: str) -> bool:
    """Return whether events may be marked as JSON, as far as this variable says."""
    try:
        return parse_content_type(env.get(name))
    except ValueError as error:
        raise InfrastructureFactoryError(f"{name} {error}") from None


def metadata_provider(env: Environment, name: str) -> MetadataProvider | None:
    """Return what adds to the metadata of events, None if nothing does."""
    topic = env.get(name)
    try:
        return provider_named(topic) if topic else None
    except ValueError as error:
        msg = f"{name} cannot be used: {error}"
        raise InfrastructureFactoryError(msg) from error


def originator_id_type(env: Environment, name: str) -> type | None:
    """Return the type of aggregates' IDs, None to have each event's class decide."""
    text = env.get(name)
    if text is None:
        return None
    if text.lower() not in _ID_TYPES:
        msg = f"{name} is {text!r}, but must be 'uuid' or 'text'"
        raise InfrastructureFactoryError(msg)
    return _ID_TYPES[text.lower()]
