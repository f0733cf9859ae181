"""Settings, read from Django at each use, and the library's environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.utils.functional import Promise
from eventsourcing.application import Application
from eventsourcing.utils import Environment

from django_esdb.exceptions import ConfigurationError
from django_esdb.masking import Masked
from eventsourcing_eventstoredb.text import text_or_class
from eventsourcing_eventstoredb.topics.allowlist import REGISTERED, TopicAllowlist

PERSISTENCE_MODULE = "eventsourcing_eventstoredb"
# The latter two are the library's former names.
MODULE_KEYS = ("PERSISTENCE_MODULE", "INFRASTRUCTURE_FACTORY", "FACTORY_TOPIC")
URI = "EVENTSTOREDB_URI"
_WHERE = (*MODULE_KEYS, URI)
# Of one application or projection.
_OWN_WHERE = tuple(f"_{key}" for key in _WHERE)
TOPIC_ALLOWLIST = "EVENTSTOREDB_TOPIC_ALLOWLIST"
MAX_DECOMPRESSED = "EVENTSTOREDB_MAX_DECOMPRESSED"
CONTENT_TYPE = "EVENTSTOREDB_CONTENT_TYPE"
SNAPSHOT_MAX_COUNT = "EVENTSTOREDB_SNAPSHOT_MAX_COUNT"
EVENT_BASES = "EVENTSTOREDB_EVENT_BASES"
EVENT_METADATA = "EVENTSTOREDB_EVENT_METADATA"
# An entry of ESDB_TOPIC_ALLOWLIST that stands for the default.
APPS = "@apps"
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_FRAMEWORKS = frozenset(("django", "django_esdb", "eventsourcing"))


class Settings:
    """
    Live view of the ``ESDB_*`` settings.

    Nothing is kept, so ``override_settings`` works without more. A setting
    takes precedence over the environment variable that says the same.
    """

    @property
    def ESDB_URI(self) -> str | None:  # noqa: N802
        """EventStoreDB's connection string; else ``EVENTSTOREDB_URI`` says it."""
        return getattr(django_settings, "ESDB_URI", None)

    @property
    def ESDB_ROOT_CERTIFICATES(self) -> str | None:  # noqa: N802
        """Path or PEM text of the certificate that signed the server's."""
        return getattr(django_settings, "ESDB_ROOT_CERTIFICATES", None)

    @property
    def ESDB_USERNAME(self) -> str | None:  # noqa: N802
        """User name, where it is not in the connection string."""
        return getattr(django_settings, "ESDB_USERNAME", None)

    @property
    def ESDB_PASSWORD(self) -> str | None:  # noqa: N802
        """Password, where it is not in the connection string."""
        return getattr(django_settings, "ESDB_PASSWORD", None)

    @property
    def ESDB_ENV(self) -> Mapping[str, str]:  # noqa: N802
        """Passed on to the library: cipher, compressor, snapshotting and so on."""
        env = getattr(django_settings, "ESDB_ENV", None)
        return {} if env is None or env == "" else env

    @property
    def ESDB_TOPIC_ALLOWLIST(self) -> list[str] | tuple[str, ...] | None:  # noqa: N802
        """Modules and topics that stored events may name; None for own apps."""
        return getattr(django_settings, "ESDB_TOPIC_ALLOWLIST", None)

    @property
    def ESDB_TOPIC_ALIASES(self) -> Mapping[str, str | type]:  # noqa: N802
        """For topics of stored events that classes had before, the classes."""
        aliases = getattr(django_settings, "ESDB_TOPIC_ALIASES", None)
        return {} if aliases is None else aliases

    @property
    def ESDB_EVENT_BASES(self) -> list[str] | tuple[str, ...]:  # noqa: N802
        """Topics of classes whose subclasses count as events or aggregates."""
        bases = getattr(django_settings, "ESDB_EVENT_BASES", None)
        return () if bases is None or bases == "" else bases

    @property
    def ESDB_MAX_DECOMPRESSED(self) -> int | None:  # noqa: N802
        """Most bytes that an event's data have; None for 16 MiB."""
        return getattr(django_settings, "ESDB_MAX_DECOMPRESSED", None)

    @property
    def ESDB_CONTENT_TYPE(self) -> str | None:  # noqa: N802
        """What events are marked as in the store; None for JSON where they are."""
        return getattr(django_settings, "ESDB_CONTENT_TYPE", None)

    @property
    def ESDB_EVENT_METADATA(self) -> str | None:  # noqa: N802
        """Where a function is that says more in each event's metadata."""
        return getattr(django_settings, "ESDB_EVENT_METADATA", None)

    @property
    def ESDB_PAYLOAD_REDACTION(self) -> str | None:  # noqa: N802
        """Where a function is that says what is shown of a payload."""
        name = getattr(django_settings, "ESDB_PAYLOAD_REDACTION", None)
        return None if name == "" else name

    @property
    def ESDB_SNAPSHOT_MAX_COUNT(self) -> int | None:  # noqa: N802
        """How many snapshots of each aggregate the store keeps; None for all."""
        return getattr(django_settings, "ESDB_SNAPSHOT_MAX_COUNT", None)

    @property
    def ESDB_BATCH_SIZE(self) -> int:  # noqa: N802
        """Most events that ``runprojections`` processes in a transaction."""
        return getattr(django_settings, "ESDB_BATCH_SIZE", 500)

    @property
    def ESDB_REPLAY_BATCH_SIZE(self) -> int:  # noqa: N802
        """The same for events that are processed once more, as in a rebuild."""
        return getattr(django_settings, "ESDB_REPLAY_BATCH_SIZE", 10_000)

    @property
    def ESDB_BATCH_SECONDS(self) -> float:  # noqa: N802
        """How long an event waits, in seconds, for others while more come in."""
        return getattr(django_settings, "ESDB_BATCH_SECONDS", 0.1)

    @property
    def ESDB_LEASE_SECONDS(self) -> float:  # noqa: N802
        """How long, in seconds, after its owner's end a projection is taken over."""
        return getattr(django_settings, "ESDB_LEASE_SECONDS", 10.0)

    @property
    def ESDB_RETRIES(self) -> int:  # noqa: N802
        """How often a failing event is tried again before its projection pauses."""
        return getattr(django_settings, "ESDB_RETRIES", 5)

    @property
    def ESDB_MAX_SKIPPED(self) -> int:  # noqa: N802
        """How many events in a row are skipped before their projection pauses."""
        return getattr(django_settings, "ESDB_MAX_SKIPPED", 10)

    @property
    def ESDB_EVENT_SECONDS(self) -> float:  # noqa: N802
        """How long, in seconds, an event may be computed without a statement."""
        return getattr(django_settings, "ESDB_EVENT_SECONDS", 300.0)

    @property
    def ESDB_MAX_BEHIND(self) -> float:  # noqa: N802
        """How far behind, in seconds, a healthy projection is that does not move."""
        return getattr(django_settings, "ESDB_MAX_BEHIND", 60.0)

    @property
    def ESDB_MAX_IDLE(self) -> float:  # noqa: N802
        """How long ago, in seconds, a healthy projection has moved that is behind."""
        return getattr(django_settings, "ESDB_MAX_IDLE", 60.0)

    @property
    def ESDB_WEB_DEADLINE(self) -> float:  # noqa: N802
        """How long, in seconds, a web request may take with event stores in all."""
        return getattr(django_settings, "ESDB_WEB_DEADLINE", 5.0)


settings = Settings()

# What an application's environment is made from; see build_env.
APPLICATION_SETTINGS = frozenset(
    (
        "ESDB_CONTENT_TYPE",
        "ESDB_ENV",
        "ESDB_EVENT_BASES",
        "ESDB_EVENT_METADATA",
        "ESDB_MAX_DECOMPRESSED",
        "ESDB_PASSWORD",
        "ESDB_ROOT_CERTIFICATES",
        "ESDB_SNAPSHOT_MAX_COUNT",
        "ESDB_TOPIC_ALIASES",
        "ESDB_TOPIC_ALLOWLIST",
        "ESDB_URI",
        "ESDB_USERNAME",
    )
)
KNOWN_SETTINGS = frozenset(name for name in vars(Settings) if name.startswith("ESDB_"))


def build_env(
    application_class: type[Application[Any]] | None = None,
) -> dict[str, str]:
    """
    Return the environment for an application or a projection.

    The library puts it over ``os.environ`` and prefers keys that begin with
    the application's name. So the order is: such a key, ``ESDB_ENV``, what the
    other settings say, ``os.environ``. The ``repr`` of values hides secrets.

    Args:
        application_class: Its own ``env`` may name a persistence module.

    Raises:
        ConfigurationError: ESDB_TOPIC_ALLOWLIST is malformed, or ESDB_ENV, or a
            setting is no text that has to be one.
    """
    for problem in no_texts():
        raise ConfigurationError(problem)
    derived = {
        URI: settings.ESDB_URI,
        "EVENTSTOREDB_ROOT_CERTIFICATES": settings.ESDB_ROOT_CERTIFICATES,
        "EVENTSTOREDB_USERNAME": settings.ESDB_USERNAME,
        "EVENTSTOREDB_PASSWORD": settings.ESDB_PASSWORD,
        MAX_DECOMPRESSED: settings.ESDB_MAX_DECOMPRESSED,
        EVENT_METADATA: settings.ESDB_EVENT_METADATA,
        CONTENT_TYPE: settings.ESDB_CONTENT_TYPE,
        SNAPSHOT_MAX_COUNT: settings.ESDB_SNAPSHOT_MAX_COUNT,
    }
    # What is empty is not set; anything else is passed on, and refused if it is wrong.
    env = {
        key: text_or_class(value)
        for key, value in derived.items()
        if value not in (None, "")
    }
    class_env = getattr(application_class, "env", {})
    if (
        named_module("", {**without_empty(class_env), **without_empty(os.environ)})
        is None
    ):
        env["PERSISTENCE_MODULE"] = PERSISTENCE_MODULE
    # Where it is not set, topics.with_allowlist adds its default.
    allowlist = topic_allowlist()
    if allowlist is not None and settings.ESDB_TOPIC_ALLOWLIST is not None:
        env[TOPIC_ALLOWLIST] = ",".join(allowlist)
    if bases := event_bases():
        env[EVENT_BASES] = ",".join(bases)
    env.update(without_empty(_given_env()))
    return {key: Masked(key, value) for key, value in env.items()}


def _given_env() -> Mapping[str, str]:
    given: object = settings.ESDB_ENV
    if not isinstance(given, Mapping) or not all(
        isinstance(item, str) for pair in given.items() for item in pair
    ):
        msg = "ESDB_ENV must be a dictionary with strings as keys and values"
        raise ConfigurationError(msg)
    return given


def no_texts() -> list[str]:
    """Say of each setting that has to be a text, and is none, what it is."""
    values: dict[str, object] = {
        "ESDB_URI": settings.ESDB_URI,
        "ESDB_USERNAME": settings.ESDB_USERNAME,
        "ESDB_PASSWORD": settings.ESDB_PASSWORD,
        "ESDB_ROOT_CERTIFICATES": settings.ESDB_ROOT_CERTIFICATES,
    }
    return [
        # The value may be secret: bytes of a password are likely meant as one.
        f"{name} must be a text, but is of type {type(value).__name__}"
        for name, value in values.items()
        if value is not None and not isinstance(value, _text_types(name))
    ]


def _text_types(name: str) -> tuple[type, ...]:
    return (str, Promise, *([PathLike] if name == "ESDB_ROOT_CERTIFICATES" else []))


def topic_allowlist() -> tuple[str, ...] | None:
    """
    Return ESDB_TOPIC_ALLOWLIST, by default the project's own apps.

    None if it is not set and the environment variable is, which then counts.

    Raises:
        ConfigurationError: It is no list of modules and topics. Taking it for
            not set would allow more than is meant.
    """
    value: object = settings.ESDB_TOPIC_ALLOWLIST
    if value is None and os.environ.get(TOPIC_ALLOWLIST):
        return None
    entries = expand_apps(
        [APPS] if value is None else _strings("ESDB_TOPIC_ALLOWLIST", value)
    )
    try:
        TopicAllowlist(entries)
    except ValueError as error:
        msg = f"ESDB_TOPIC_ALLOWLIST {error}"
        raise ConfigurationError(msg) from None
    return entries


def event_bases() -> tuple[str, ...]:
    """
    Return ESDB_EVENT_BASES.

    Raises:
        ConfigurationError: It is no list of strings.
    """
    return _strings("ESDB_EVENT_BASES", settings.ESDB_EVENT_BASES)


def expand_apps(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the entries with the project's own apps in the place of ``@apps``."""
    expanded = [
        each
        for entry in entries
        for each in ((*own_apps(), REGISTERED) if entry == APPS else (entry,))
    ]
    return tuple(dict.fromkeys(expanded))


def own_apps() -> tuple[str, ...]:
    """
    Return the modules of the installed apps that are the project's own.

    Those are the ones that do not lie where packages are installed, unless they are
    parts of the package that the settings or the URLs are in.
    """
    configs = (
        apps.app_configs.values()
        if apps.apps_ready
        else map(AppConfig.create, django_settings.INSTALLED_APPS)
    )
    places = (
        getattr(django_settings, "SETTINGS_MODULE", None),
        getattr(django_settings, "ROOT_URLCONF", None),
    )
    project = {str(place).partition(".")[0] for place in places if place}
    return tuple(config.name for config in configs if _is_own(config, project))


def _is_own(config: AppConfig, project: set[str]) -> bool:
    top = config.name.partition(".")[0]
    if top in _FRAMEWORKS:
        return False
    return top in project or _INSTALLED.isdisjoint(Path(config.path).parts)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(entry, str) for entry in value
    ):
        msg = f"{name} must be a list or a tuple of strings"
        raise ConfigurationError(msg)
    return tuple(value)


def application_environment(application_class: type[Application[Any]]) -> Environment:
    """Return the environment that an application will be configured from."""
    env = {
        **without_empty(application_class.env),
        **without_empty(os.environ),
        **build_env(application_class),
    }
    return Environment(application_class.name, env)


def named_module(name: str, env: Mapping[str, str]) -> str | None:
    """Return the persistence module that an environment names; None for none."""
    environment = Environment(name, without_empty(env))
    named = (environment.get(key) for key in MODULE_KEYS)
    return next((module for module in named if module), None)


def without_empty(env: Mapping[str, str]) -> dict[str, str]:
    """
    Return an environment without what says nothing about where events are kept.

    The library takes an empty text, such as a container's variable that was not
    set, for a choice, and would keep events in memory.
    """
    return {key: value for key, value in env.items() if value or not _says_where(key)}


def _says_where(key: str) -> bool:
    return key in _WHERE or key.endswith(_OWN_WHERE)
