"""``ESDB_TOPIC_ALIASES``: the classes that old topics of stored events lead to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver
from eventsourcing.utils import resolve_topic

from django_esdb.conf import settings
from eventsourcing_eventstoredb.text import named_line, quoted, text_or_class
from eventsourcing_eventstoredb.topics.aliases import are_in_place, set_aliases

_NONE: Mapping[str, str] = MappingProxyType({})
_applied: object = _NONE
_problems: Mapping[str, str] = _NONE


def apply_topic_aliases() -> Mapping[str, str]:
    """
    Have the library resolve old topics as the setting says now.

    Imports the modules of the classes; does nothing if nothing has changed since.

    Returns:
        What is wrong with single topics, or under an empty text with the setting as a
        whole. They are left out.
    """
    global _applied, _problems
    value: object = settings.ESDB_TOPIC_ALIASES
    if value == _applied and are_in_place():
        return _problems
    # The old ones must not be taken for names of classes.
    set_aliases({})
    classes, problems = _classes(value)
    problems.update(set_aliases(classes))
    _applied = dict(value) if isinstance(value, Mapping) else value
    _problems = MappingProxyType(problems)
    return _problems


def _classes(value: object) -> tuple[dict[str, type], dict[str, str]]:
    """Return the class of each alias, and what is wrong with the others."""
    if not isinstance(value, Mapping):
        return {}, {"": "it is no dictionary"}
    classes: dict[str, type] = {}
    problems: dict[str, str] = {}
    for topic, named in value.items():
        found = _class(topic, named, value)
        if isinstance(found, type):
            classes[topic] = found
        else:
            problems[text_or_class(topic)] = f"{quoted(topic)} {found}"
    return classes, problems


def _class(topic: object, named: object, aliases: Mapping[Any, Any]) -> type | str:
    """Return the class that an old topic has in the setting, or what is wrong."""
    if not isinstance(topic, str) or not topic:
        return "is no topic"
    if isinstance(named, type):
        return named
    if not isinstance(named, str) or ":" not in named:
        return 'has no class, or topic of one like "school.domain:Dog"'
    if named in aliases:
        return f"leads to {quoted(named)}, which is an old topic itself"
    try:
        found: object = resolve_topic(named)
    except Exception as error:
        # Whatever its module raises when it is imported.
        return f"leads nowhere: {named_line(error)}"
    return (
        found
        if isinstance(found, type)
        else f"leads to {quoted(named)}, which is no class"
    )


@receiver(setting_changed)
def _apply_changed_setting(*, setting: str, **kwargs: Any) -> None:
    if setting == "ESDB_TOPIC_ALIASES":
        apply_topic_aliases()
