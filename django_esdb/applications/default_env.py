"""
Applications that are made plainly, as ``TrainingSchool()``, get Django's settings, too.

Without this the library would keep their events in memory, and nothing would tell
that they are gone when the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import wraps
from typing import Any

from eventsourcing.application import Application
from eventsourcing.popo import POPOFactory
from eventsourcing.utils import Environment, EnvType

from django_esdb.conf import (
    MODULE_KEYS,
    PERSISTENCE_MODULE,
    build_env,
    settings,
)
from django_esdb.topics.aliases import apply_topic_aliases
from django_esdb.topics.allowlist import guard_application, with_allowlist

_MARK = "_django_esdb_default_env"


def use_settings_as_default_env() -> None:
    """
    Have the library ask for Django's settings whenever an application is made.

    Settings are read at that time. The process's environment variables stay as they
    are, so that no secret gets to child processes. Idempotent.
    """
    construct_env = Application.construct_env
    if hasattr(construct_env, _MARK):
        return

    @wraps(construct_env)
    def with_settings(
        self: Application[Any], name: str, env: EnvType | None = None
    ) -> Environment:
        given = default_env(type(self), name, env)
        # Where the process's variables name a module, it is not from the settings.
        if given is not env and not os.environ.keys() & set(MODULE_KEYS):
            given = with_allowlist(given, type(self).env)
        return construct_env(self, name, given)

    setattr(with_settings, _MARK, True)
    Application.construct_env = with_settings  # type: ignore[method-assign]


def guard_every_application() -> None:
    """
    Have applications on other stores, however they are made, read allowed topics only.

    Those on EventStoreDB do so by themselves. What is in this process's memory alone
    has been written by nobody else, and is left as it is, unless
    :func:`~django_esdb.get_application` has made it. Idempotent.
    """
    construct = Application.__init__
    if hasattr(construct, _MARK):
        return

    @wraps(construct)
    def guarded(self: Application[Any], env: EnvType | None = None) -> None:
        apply_topic_aliases()
        construct(self, env)
        if not isinstance(self.factory, POPOFactory):
            guard_application(self)

    setattr(guarded, _MARK, True)
    Application.__init__ = guarded  # type: ignore[method-assign]


def default_env(
    application_class: type[Application[Any]], name: str, env: EnvType | None
) -> EnvType | None:
    """
    Return the environment that an application is made with.

    That is *env* as it is, where it names a persistence module, where the class names
    another one than EventStoreDB's, or where nothing says where EventStoreDB is.
    Otherwise it is what :func:`~django_esdb.get_application` uses, with *env* over it.

    Args:
        application_class: The application's class.
        name: By which its own keys of the environment begin.
        env: What the application was given; None for nothing.

    Raises:
        ConfigurationError: ESDB_TOPIC_ALLOWLIST is malformed.
    """
    given = dict(env or {})
    if _named_module(name, given) is not None:
        return env
    if _named_module(name, application_class.env) not in (None, PERSISTENCE_MODULE):
        return env
    defaults = build_env(application_class)
    everything = {**application_class.env, **os.environ, **defaults, **given}
    has_address = bool(Environment(name, everything).get("EVENTSTOREDB_URI"))
    if not has_address and _named_module(name, settings.ESDB_ENV) is None:
        return env
    return {**defaults, **given}


def _named_module(name: str, env: Mapping[str, str]) -> str | None:
    environment = Environment(name, dict(env))
    named = (environment.get(key) for key in MODULE_KEYS)
    return next((module for module in named if module), None)
