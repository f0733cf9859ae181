"""
Applications that are made plainly, as ``TrainingSchool()``, get Django's settings, too.

Without this the library would keep their events in memory, and nothing would tell
that they are gone when the process ends.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from functools import wraps
from typing import Any

from eventsourcing.application import Application
from eventsourcing.popo import POPOFactory
from eventsourcing.utils import Environment, EnvType

from django_esdb.conf import (
    PERSISTENCE_MODULE,
    URI,
    build_env,
    named_module,
    settings,
    without_empty,
)
from django_esdb.exceptions import ConfigurationError
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
        if given is not env and named_module("", os.environ) is None:
            given = with_allowlist(given, type(self).env)
        made = construct_env(self, name, given)
        # What is empty leaves what the class says.
        return Environment(
            made.name, {**without_empty(type(self).env), **without_empty(made)}
        )

    setattr(with_settings, _MARK, True)
    Application.construct_env = with_settings  # type: ignore[method-assign]


def guard_every_application() -> None:
    """
    Have applications on other stores, however they are made, read allowed topics only.

    Those on EventStoreDB do so by themselves. What is in this process's memory alone
    has not been written by other code, and is left as it is, unless
    :func:`~django_esdb.get_application` has made it. Idempotent.
    """
    construct = Application.__init__
    if hasattr(construct, _MARK):
        return

    @wraps(construct)
    def guarded(self: Application[Any], env: EnvType | None = None) -> None:
        apply_topic_aliases()
        construct(self, env)
        refuse_memory_by_default(self)
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
    given = without_empty(env or {})
    if named_module(name, given) is not None:
        return env
    if named_module(name, application_class.env) not in (None, PERSISTENCE_MODULE):
        return env
    defaults = build_env(application_class)
    everything = {**application_class.env, **os.environ, **defaults, **given}
    if not _says_where_events_are(name, everything):
        return env
    return {**defaults, **given}


def refuse_memory_by_default(application: Application[Any]) -> None:
    """
    Refuse an application that keeps its events in memory though nothing says so.

    Raises:
        ConfigurationError: Settings or environment say where EventStoreDB is, and
            neither an environment nor the application's class names another module.
    """
    application_class = type(application)
    if (
        not isinstance(application.factory, POPOFactory)
        or application_class.construct_factory is not Application.construct_factory
        or named_module(application.name, application.env) is not None
    ):
        return
    uri = {URI: settings.ESDB_URI} if settings.ESDB_URI else {}
    everything = {**application.env, **uri, **without_empty(settings.ESDB_ENV)}
    if not _says_where_events_are(application.name, everything):
        return
    msg = (
        f"{application_class.__qualname__} would keep its events in memory, since it "
        "was made before django_esdb was set up, or takes no settings: make it later, "
        'have "django_esdb" before it in INSTALLED_APPS, or name a PERSISTENCE_MODULE '
        "in its env"
    )
    raise ConfigurationError(msg)


def refuse_earlier_applications() -> None:
    """
    Refuse what was made before :func:`use_settings_as_default_env` was called.

    Raises:
        ConfigurationError: As :func:`refuse_memory_by_default`.
    """
    if hasattr(Application.construct_env, _MARK):
        return
    classes = _subclasses(Application)
    for found in gc.get_referrers(*classes) if classes else ():
        if isinstance(found, Application) and hasattr(found, "factory"):
            refuse_memory_by_default(found)


def _subclasses(cls: type[Any]) -> set[type[Any]]:
    direct = set(cls.__subclasses__())
    return direct.union(*map(_subclasses, direct))


def _says_where_events_are(name: str, env: Mapping[str, str]) -> bool:
    has_address = bool(Environment(name, without_empty(env)).get(URI))
    return has_address or named_module(name, settings.ESDB_ENV) is not None
