"""
System checks: what can be known to be wrong without asking any server.

Commands run the same functions and report the first error in one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import global_settings
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _

from django_esdb.checks.connections import (
    ADDRESS_MISSING,
    application_environments,
    check_connections,
    check_topic_allowlist,
)
from django_esdb.checks.databases import check_databases, check_read_models
from django_esdb.checks.distributions import check_distributions
from django_esdb.checks.environment_names import check_environment_names
from django_esdb.checks.event_metadata import check_event_metadata
from django_esdb.checks.misspelt import nearest, suggestion
from django_esdb.checks.numbers import check_numbers
from django_esdb.checks.payload_redaction import check_payload_redaction
from django_esdb.checks.projections import check_projections
from django_esdb.checks.topic_aliases import check_topic_aliases
from django_esdb.checks.topics import check_topics
from django_esdb.conf import KNOWN_SETTINGS, no_texts, settings

TAG = "django_esdb"
# How much a setting has to be like one of these to be taken for it, whatever it begins
# with; other apps' settings are less so.
_ALIKE = 0.85


def check_project(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """
    Return what ``manage.py check`` says, and so every command that checks first.

    An address that is missing is no more than a warning here: tables are made, static
    files are collected and images are built where there is no event store. What needs
    the address asks :func:`check_all`.
    """
    return [
        checks.Warning(message.msg, hint=message.hint, id="django_esdb.W013")
        if message.id == ADDRESS_MISSING
        else message
        for message in check_all(app_configs, **kwargs)
    ]


def check_all(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return everything that is wrong with settings and registrations."""
    env_messages = [*check_env(), *check_texts()] or list(check_topic_allowlist())
    return [
        *env_messages,
        # An environment that cannot be made cannot be looked into.
        *(() if env_messages else check_connections()),
        *(() if env_messages else check_event_metadata(application_environments())),
        *(() if env_messages else check_topic_aliases(application_environments())),
        *check_payload_redaction(),
        *check_numbers(),
        *check_projections(),
        *check_topics(),
        *check_databases(),
        *check_read_models(),
        *check_setting_names(),
        *check_environment_names(),
        *check_distributions(),
    ]


def check_env() -> Iterator[CheckMessage]:
    """ESDB_ENV must be a dictionary of strings."""
    env = settings.ESDB_ENV
    if not isinstance(env, dict) or not all(
        isinstance(item, str) for pair in env.items() for item in pair
    ):
        yield Error(
            _("ESDB_ENV must be a dictionary with strings as keys and values."),
            hint=_("It is passed on to the eventsourcing library as environment."),
            id="django_esdb.E004",
        )


def check_texts() -> Iterator[CheckMessage]:
    """What is no text would be made one that was not meant."""
    for problem in no_texts():
        yield Error(
            _("A setting cannot be used: %(reason)s.") % {"reason": problem},
            hint=_("Write it in quotes; what are bytes, decode."),
            id="django_esdb.E034",
        )


def check_setting_names() -> Iterator[CheckMessage]:
    """A setting that is not read is likely misspelt."""
    # Most are Django's own, and to compare each takes long.
    others = set(dir(django_settings)) - set(dir(global_settings)) - KNOWN_SETTINGS
    for name in sorted(filter(str.isupper, others)):
        meant = nearest(name, KNOWN_SETTINGS, _ALIKE)
        if meant is not None or name.startswith("ESDB_"):
            yield checks.Warning(
                _("There is no setting %(name)s.") % {"name": name},
                hint=(
                    _("The settings are %(names)s.")
                    % {"names": ", ".join(sorted(KNOWN_SETTINGS))}
                    if meant is None
                    else suggestion(meant)
                ),
                id="django_esdb.W002",
            )
