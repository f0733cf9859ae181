"""
Old topics that lead to classes which have other names now.

They are registered with the library, as ``register_topic`` does, and can be exchanged
for others, which that cannot.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType

from eventsourcing import utils
from eventsourcing.utils import register_topic, resolve_topic

from eventsourcing_eventstoredb.text import quoted
from eventsourcing_eventstoredb.topics.id_types import topic_originator_id_type

_lock = threading.Lock()
_aliases: Mapping[str, type] = MappingProxyType({})
# Without those that the project's code has registered by itself.
_own: frozenset[str] = frozenset()


def set_aliases(aliases: Mapping[str, type]) -> dict[str, str]:
    """
    Have these topics, and those that begin with them and a dot, lead to classes.

    The ones that were set before lead nowhere any more, unless they are among these.

    Args:
        aliases: The class for each old topic.

    Returns:
        For each topic that was left out, why: it leads to another class already, which
        has that name still or was registered with it.
    """
    global _aliases, _own
    with _lock:
        _forget(_own)
        # All are looked at first: one may lie inside of another.
        existing = {topic: _existing(topic) for topic in aliases}
        problems = {
            topic: f"{quoted(topic)} leads to {_name(existing[topic])} already"
            for topic, found in aliases.items()
            if existing[topic] not in (None, found)
        }
        _own = frozenset(topic for topic, found in existing.items() if found is None)
        for topic in _own:
            register_topic(topic, aliases[topic])
        _aliases = MappingProxyType(
            {topic: aliases[topic] for topic in aliases if topic not in problems}
        )
        # What was found out about these topics holds no more.
        topic_originator_id_type.cache_clear()
        return problems


def topic_aliases() -> Mapping[str, type]:
    """Return the classes of those that were set, by topic."""
    return _aliases


def is_alias(topic: str) -> bool:
    """Tell whether a topic is one of those that were set, or lies inside of one."""
    return topic in _aliases or any(topic.startswith(f"{each}.") for each in _aliases)


def are_in_place() -> bool:
    """Tell whether those that were set are registered still."""
    return all(
        utils._topic_cache.get(topic) is found for topic, found in _aliases.items()
    )


def _forget(topics: frozenset[str]) -> None:
    insides = tuple(f"{each}." for each in topics)
    for topic in utils._topic_cache.copy():
        if topic in topics or topic.startswith(insides):
            utils._topic_cache.pop(topic, None)


def _existing(topic: str) -> object:
    """Return what a topic leads to without an alias; None as a rule."""
    try:
        found: object = resolve_topic(topic)
    except Exception:
        # No module or class has the name any more.
        return None
    return found


def _name(found: object) -> str:
    name = getattr(found, "__qualname__", type(found).__qualname__)
    return quoted(f"{getattr(found, '__module__', '')}:{name}")
