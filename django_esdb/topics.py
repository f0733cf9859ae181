"""The allowlist of topics, for applications on any persistence module."""

from __future__ import annotations

import os
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper
from eventsourcing.utils import Environment, EnvType

from django_esdb.conf import TOPIC_ALLOWLIST, topic_allowlist
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.topics import AllowlistMapper, TopicAllowlist


def guard_application(application: Application[Any]) -> None:
    """
    Have an application make objects of allowed topics only.

    EventStoreDB's factory sees to that itself; other modules' factories, and
    applications that make their mappers themselves, do not.
    """
    allowlist = allowlist_of(application.env)
    if allowlist is None:
        return
    application.mapper = guarded_mapper(application.mapper, allowlist)
    for store in (application.events, application.snapshots):
        if store is not None:
            store.mapper = guarded_mapper(store.mapper, allowlist)


def allowlist_of(env: dict[str, str]) -> TopicAllowlist | None:
    """
    Return the list that an environment or else the setting has, None for none.

    Raises:
        ConfigurationError: It is malformed.
    """
    if text := env.get(TOPIC_ALLOWLIST):
        try:
            return TopicAllowlist.parse(text)
        except ValueError as error:
            msg = f"{TOPIC_ALLOWLIST} {error}"
            raise ConfigurationError(msg) from None
    entries = topic_allowlist()
    return None if entries is None else TopicAllowlist(entries)


def allowlist_for(
    application_class: type[Application[Any]], env: EnvType | None
) -> TopicAllowlist | None:
    """Return the list that an application made with *env* will have."""
    whole = {**application_class.env, **os.environ, **(env or {})}
    return allowlist_of(Environment(application_class.name, whole))


def with_allowlist(env: EnvType | None) -> EnvType | None:
    """Return an environment that has the setting's list, unless it has its own."""
    entries = topic_allowlist()
    if entries is None:
        return env
    return {TOPIC_ALLOWLIST: ",".join(entries), **(env or {})}


def guarded_mapper(mapper: Mapper[Any], allowlist: TopicAllowlist) -> Mapper[Any]:
    """Return the mapper, unless it is one already, within one that looks at topics."""
    if isinstance(mapper, AllowlistMapper):
        return mapper
    return AllowlistMapper(mapper, allowlist)
