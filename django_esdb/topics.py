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
    TOPIC_ALLOWLIST,
    event_bases,
    topic_allowlist,
)
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.topics import AllowlistMapper, TopicAllowlist


def guard_application(application: Application[Any]) -> None:
    """
    Have an application make objects of allowed topics only.

    EventStoreDB's factory sees to that itself; other modules' factories, and
    applications that make their mappers themselves, do not.
    """
    allowlist = allowlist_of(application.env)
    application.mapper = guarded_mapper(application.mapper, allowlist)
    for store in (application.events, application.snapshots):
        if store is not None:
            store.mapper = guarded_mapper(store.mapper, allowlist)


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
    whole = {**application_class.env, **os.environ, **(env or {})}
    return allowlist_of(Environment(application_class.name, whole))


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


def guarded_mapper(mapper: Mapper[Any], allowlist: TopicAllowlist) -> Mapper[Any]:
    """Return the mapper, unless it is one already, within one that looks at topics."""
    if isinstance(mapper, AllowlistMapper):
        return mapper
    return AllowlistMapper(mapper, allowlist)
