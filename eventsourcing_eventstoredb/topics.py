"""
Which topics may become objects, where the store is not trusted that far.

A topic names a class, and finding it imports a module, which runs code. Topics
are the types of stored events; the data of some have further ones in them: of
an aggregate's class, in its first event and in its snapshots.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from inspect import getattr_static
from types import FunctionType
from typing import Any

from eventsourcing.domain import (
    CanInitAggregate,
    CanSnapshotAggregate,
    DomainEventProtocol,
)
from eventsourcing.persistence import (
    Mapper,
    Notification,
    StoredEvent,
)
from eventsourcing.utils import resolve_topic

from eventsourcing_eventstoredb.exceptions import TopicNotAllowedError
from eventsourcing_eventstoredb.text import quoted

# A plain class, which every application with snapshots has loaded anyway. The
# aggregate's class, whose topic is in its data, has to be allowed all the same.
_SNAPSHOT = "eventsourcing.domain:Snapshot"

# Explicit topics may be other than names in Python, but none that a list in one
# line cannot have, or that look like a pattern.
_ENTRY = re.compile(r"[^\s,:.*]+(?:[.:][^\s,:.*]+)*")


class TopicAllowlist:
    """
    Topics that may be resolved.

    Args:
        entries: Each a module or package, such as ``school.domain``, with all
            that is in it, or a topic, such as ``school.domain:Dog``, with all
            classes inside of that class.

    Raises:
        ValueError: There is no entry, or one is neither.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        own = frozenset(entries)
        if not own:
            msg = "names nothing, so that no event could be read"
            raise ValueError(msg)
        for entry in sorted(own):
            if not _ENTRY.fullmatch(entry):
                msg = f"has {quoted(entry)}, which is neither a module nor a topic"
                raise ValueError(msg)
        self._entries = own | {_SNAPSHOT}
        # Only what passed is kept, so hostile topics cannot make it grow.
        self._passed: set[str] = set()

    @classmethod
    def parse(cls, text: str) -> TopicAllowlist:
        """Make one of text that has commas or spaces between the entries."""
        return cls(text.replace(",", " ").split())

    def permits(self, topic: str) -> bool:
        """Return whether the topic leads to a class that is allowed; may import it."""
        return self.objection(topic) is None

    def objection(self, topic: str) -> str | None:
        """
        Return what speaks against resolving a topic, None if nothing does.

        Its text has to be in the list; unless it is, nothing is imported or
        looked up. So has the class that it leads to: a module has more in it
        than its own classes, and a name may be registered for another class.
        """
        if topic in self._passed:
            return None
        if not self._has(topic) or _leads_out(topic):
            return "is not allowed"
        try:
            found = resolve_topic(topic)
        except Exception:
            # It is allowed; the mapper says what is wrong with it.
            return None
        if not isinstance(found, type):
            return "is not allowed, since it leads to no class"
        own = f"{found.__module__}:{found.__qualname__}"
        if not self._has(own):
            return f"is not allowed, since it leads to {quoted(own)}"
        self._passed.add(topic)
        return None

    def _has(self, topic: str) -> bool:
        module, _, path = topic.partition(":")
        return topic in self._entries or any(
            prefix in self._entries
            for prefix in (*_prefixes("", module), *_prefixes(f"{module}:", path))
        )


class AllowlistMapper(Mapper[Any]):
    """
    A mapper that makes objects of allowed topics only.

    Args:
        inner: The mapper that makes them.
        allowlist: What is allowed.
    """

    def __init__(self, inner: Mapper[Any], allowlist: TopicAllowlist) -> None:
        super().__init__(inner.transcoder, inner.compressor, inner.cipher)
        self.inner = inner
        self.allowlist = allowlist

    def to_stored_event(self, domain_event: DomainEventProtocol[Any]) -> StoredEvent:
        return self.inner.to_stored_event(domain_event)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[Any]:
        """
        Make the domain event.

        Raises:
            TopicNotAllowedError: Its topic is not allowed, or that of the
                aggregate's class in its data.
        """
        self._check(stored_event.topic, stored_event)
        domain_event = self.inner.to_domain_event(stored_event)
        # What the library resolves when an aggregate is made of the event.
        inside = None
        if isinstance(domain_event, CanInitAggregate):
            inside = getattr(domain_event, "originator_topic", None)
        elif isinstance(domain_event, CanSnapshotAggregate):
            inside = getattr(domain_event, "topic", None)
        if isinstance(inside, str):
            self._check(inside, stored_event)
        return domain_event

    def _check(self, topic: str, stored_event: StoredEvent) -> None:
        objection = self.allowlist.objection(topic)
        if objection is None:
            return
        position = (
            f", position {stored_event.id}"
            if isinstance(stored_event, Notification)
            else ""
        )
        msg = (
            f"Topic {quoted(topic)} {objection}: stream "
            f"{quoted(stored_event.originator_id)}, version "
            f"{stored_event.originator_version}{position}; if it is meant to be, add "
            "it or its module to ESDB_TOPIC_ALLOWLIST (or EVENTSTOREDB_TOPIC_ALLOWLIST)"
        )
        raise TopicNotAllowedError(msg)


def _prefixes(beginning: str, dotted: str) -> Iterator[str]:
    end = 0
    while (end := dotted.find(".", end + 1)) != -1:
        yield beginning + dotted[:end]
    if dotted:
        yield beginning + dotted


def _leads_out(topic: str) -> bool:
    """
    Return whether a topic goes by way of something that is no class.

    An allowed module has other modules in it, and objects that do something
    when they are asked for an attribute. So the way is looked at before it is
    gone; what is not found there is a registered name, or nothing.
    """
    module, _, path = topic.partition(":")
    try:
        found: object = importlib.import_module(module)
    except Exception:
        return False
    for name in filter(None, path.split(".")):
        found = getattr_static(found, name, None)
        if found is None or (isinstance(found, FunctionType) and "<locals>" in path):
            return False
        if not isinstance(found, type):
            return True
    return False
