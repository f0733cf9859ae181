"""The allowlist of topics, for applications on any persistence module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper
from eventsourcing.utils import Environment, EnvType

from django_esdb.conf import (
    EVENT_BASES,
    MAX_DECOMPRESSED,
    TOPIC_ALLOWLIST,
    event_bases,
    topic_allowlist,
)
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.encoding.compression import (
    DEFAULT_LIMIT,
    limited,
    parse_limit,
)
from eventsourcing_eventstoredb.encoding.json_decoding import quicken
from eventsourcing_eventstoredb.topics.allowlist import AllowlistMapper, TopicAllowlist


def guard_application(application: Application[Any]) -> None:
    """
    Have an application make objects of allowed topics only, of bounded data.

    EventStoreDB's factory sees to that itself; other modules' factories, and
    applications that make their mappers themselves, do not.
    """
    allowlist = allowlist_of(application.env)
    limit = limit_of(application.env)
    application.mapper = guarded_mapper(application.mapper, allowlist, limit)
    for store in (application.events, application.snapshots):
        if store is not None:
            store.mapper = guarded_mapper(store.mapper, allowlist, limit)


def allowlist_of(env: dict[str, str]) -> TopicAllowlist:
    """
    Return the list that an environment or else the setting has.

    Raises:
        ConfigurationError: It is malformed.
    """
    bases = env.get(EVENT_BASES) or ",".join(event_bases())
    if text := env.get(TOPIC_ALLOWLIST):
        try:
            return TopicAllowlist.parse(text, bases)
        except ValueError as error:
            msg = f"{TOPIC_ALLOWLIST} {error}"
            raise ConfigurationError(msg) from None
    return TopicAllowlist.parse(",".join(topic_allowlist() or ()), bases)


def allowlist_for(
    application_class: type[Application[Any]], env: EnvType | None
) -> TopicAllowlist:
    """Return the list that an application made with *env* will have."""
    return allowlist_of(_environment(application_class, env))


def limit_for(application_class: type[Application[Any]], env: EnvType | None) -> int:
    """Return the most bytes that an application made with *env* will decompress."""
    return limit_of(_environment(application_class, env))


def _environment(
    application_class: type[Application[Any]], env: EnvType | None
) -> Environment:
    whole = {**application_class.env, **os.environ, **(env or {})}
    return Environment(application_class.name, whole)


def with_allowlist(
    env: EnvType | None, class_env: Mapping[str, str] = MappingProxyType({})
) -> EnvType | None:
    """Return an environment that has the setting's list, unless it has its own."""
    bases = event_bases()
    entries = topic_allowlist()
    return {
        **({EVENT_BASES: ",".join(bases)} if bases else {}),
        **(
            {TOPIC_ALLOWLIST: ",".join(entries)}
            if entries is not None and TOPIC_ALLOWLIST not in class_env
            else {}
        ),
        **(env or {}),
    }


def limit_of(env: Mapping[str, str]) -> int:
    """
    Return the most bytes to decompress that an environment has, or the default.

    Raises:
        ConfigurationError: It is no number.
    """
    text = env.get(MAX_DECOMPRESSED)
    try:
        return parse_limit(text) if text else DEFAULT_LIMIT
    except ValueError as error:
        msg = f"{MAX_DECOMPRESSED} {error}"
        raise ConfigurationError(msg) from None


def guarded_mapper(
    mapper: Mapper[Any], allowlist: TopicAllowlist, limit: int
) -> Mapper[Any]:
    """
    Return the mapper, unless it is one already, within one that looks at topics.

    It decompresses up to *limit* bytes.
    """
    if isinstance(mapper, AllowlistMapper):
        return mapper
    guarded = AllowlistMapper(mapper, allowlist)
    mapper.compressor = limited(mapper.compressor, limit)
    quicken(mapper.transcoder)
    return guarded
