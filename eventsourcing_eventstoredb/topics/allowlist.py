"""
Which topics may become objects: those of events, snapshots and aggregates, and
where there is a list, those in it.

A topic names a class, and finding it imports a module, which runs code. Topics
are the types of stored events; the data of some have further ones in them: of
an aggregate's class, in its first event and in its snapshots.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from inspect import getattr_static
from types import FunctionType, ModuleType
from typing import Any

from eventsourcing import utils
from eventsourcing.domain import (
    BaseAggregate,
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
from eventsourcing_eventstoredb.topics.aliases import is_alias

# A plain class, which every application with snapshots has loaded anyway. The
# aggregate's class, whose topic is in its data, has to be allowed all the same.
_SNAPSHOT = "eventsourcing.domain:Snapshot"

# Explicit topics may be other than names in Python, but none that a list in one
# line cannot have, or that look like a pattern.
_ENTRY = re.compile(r"[^\s,:.*]+(?:[.:][^\s,:.*]+)*")

# Entries that stand for more than a name.
ANYWHERE = "@anywhere"
REGISTERED = "@registered"
_SPECIAL = frozenset((ANYWHERE, REGISTERED))

# What the library's protocols of events and of aggregates demand. A protocol with
# data members cannot be asked whether a class follows it.
_EVENT_MEMBERS = ("originator_id", "originator_version")
_AGGREGATE_MEMBERS = ("id", "version")


class TopicAllowlist:
    """
    Topics that may be resolved.

    Args:
        entries: Each a module or package, such as ``school.domain``, with all
            that is in it, or a topic, such as ``school.domain:Dog``, with all
            classes inside of that class. ``@registered`` stands for the names
            that the project's code has registered for classes in the list,
            ``@anywhere`` for every module. Aliases of classes in the list are in it.
        bases: Topics of classes whose subclasses may be made of stored topics
            though they are none of the library's protocols.

    Attributes:
        events: Topics against which :meth:`objection_to_event` has found nothing, for
            who cannot afford a call for each event.

    Raises:
        ValueError: There is no entry, or one is neither.
    """

    def __init__(self, entries: Iterable[str], bases: Iterable[str] = ()) -> None:
        own = frozenset(entries)
        if not own:
            msg = "names nothing, so that no event could be read"
            raise ValueError(msg)
        for entry in sorted(own):
            if not _ENTRY.fullmatch(entry) or (
                entry.startswith("@") and entry not in _SPECIAL
            ):
                msg = f"has {quoted(entry)}, which is neither a module nor a topic"
                raise ValueError(msg)
        self._entries = own | {_SNAPSHOT}
        self._bases = tuple(bases)
        # Only what passed is kept, so hostile topics cannot make them grow.
        self._passed: set[str] = set()
        self.events: set[str] = set()
        self._aggregates: set[str] = set()

    @classmethod
    def parse(cls, text: str, bases: str = "") -> TopicAllowlist:
        """Make one of texts that have commas or spaces between the entries."""
        return cls(split_entries(text), split_entries(bases))

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
        if not self._has(topic):
            is_known = REGISTERED in self._entries or is_alias(topic)
            registered = is_known and _registered(topic)
            if not registered or not self._has(registered) or _leads_out(registered):
                return "is not allowed"
        elif _leads_out(topic):
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

    def objection_to_event(self, topic: str) -> str | None:
        """Return what speaks against making an event or a snapshot of a topic."""
        if topic in self.events:
            return None
        return self._objection(topic, self.events, self._is_event, "event or snapshot")

    def objection_to_aggregate(self, topic: str) -> str | None:
        """Return what speaks against making an aggregate of a topic."""
        if topic in self._aggregates:
            return None
        return self._objection(topic, self._aggregates, self._is_aggregate, "aggregate")

    def _objection(
        self, topic: str, passed: set[str], fits: Callable[[type], bool], kind: str
    ) -> str | None:
        objection = self.objection(topic)
        if objection is not None or topic not in self._passed:
            return objection
        if not fits(resolve_topic(topic)):
            return f"is not allowed, since its class is no {kind}"
        passed.add(topic)
        return None

    def makes_notified_events(self, found: type) -> bool:
        """Return whether a class is one of events, other than snapshots."""
        return self._is_event(found) and not issubclass(found, CanSnapshotAggregate)

    def _is_event(self, found: type) -> bool:
        return _has_members(found, _EVENT_MEMBERS) or self._has_base(found)

    def _is_aggregate(self, found: type) -> bool:
        return (
            issubclass(found, BaseAggregate)
            or _has_members(found, _AGGREGATE_MEMBERS)
            or self._has_base(found)
        )

    def _has_base(self, found: type) -> bool:
        # From a setting, so that looking them up runs the project's own code.
        return any(issubclass(found, resolve_topic(base)) for base in self._bases)

    def _has(self, topic: str) -> bool:
        if ANYWHERE in self._entries:
            return True
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
        warn: Called before the first event is made.
    """

    def __init__(
        self,
        inner: Mapper[Any],
        allowlist: TopicAllowlist,
        warn: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(inner.transcoder, inner.compressor, inner.cipher)
        self.inner = inner
        self.allowlist = allowlist
        self._warn = warn
        # By the event's class, which says what the library will resolve.
        self._inner_topic_names: dict[type, str | None] = {}

    def to_stored_event(self, domain_event: DomainEventProtocol[Any]) -> StoredEvent:
        return self.inner.to_stored_event(domain_event)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[Any]:
        """
        Make the domain event.

        Raises:
            TopicNotAllowedError: Its topic is not allowed, or that of the
                aggregate's class in its data.
        """
        if self._warn is not None:
            self._warn()
            self._warn = None
        topic = stored_event.topic
        if topic not in self.allowlist.events:
            self._check(self.allowlist.objection_to_event, topic, stored_event)
        domain_event = self.inner.to_domain_event(stored_event)
        kind = type(domain_event)
        try:
            name = self._inner_topic_names[kind]
        except KeyError:
            name = self._inner_topic_names[kind] = _inner_topic_name(kind)
        if name is not None:
            inside = getattr(domain_event, name, None)
            if isinstance(inside, str):
                self._check(self.allowlist.objection_to_aggregate, inside, stored_event)
        return domain_event

    def _check(
        self,
        objection_to: Callable[[str], str | None],
        topic: str,
        stored_event: StoredEvent,
    ) -> None:
        objection = objection_to(topic)
        if objection is None:
            return
        position = (
            f", position {stored_event.id}"
            if isinstance(stored_event, Notification)
            else ""
        )
        msg = (
            f"Topic {quoted(topic)} {objection}{missing_module(topic)}: stream "
            f"{quoted(stored_event.originator_id)}, version "
            f"{stored_event.originator_version}{position}; if it is meant to be, add "
            "it or its module to ESDB_TOPIC_ALLOWLIST (or EVENTSTOREDB_TOPIC_ALLOWLIST)"
        )
        raise TopicNotAllowedError(msg)


def _inner_topic_name(kind: type) -> str | None:
    """Name the attribute with the topic of the aggregate that an event begins."""
    if issubclass(kind, CanInitAggregate):
        return "originator_topic"
    return "topic" if issubclass(kind, CanSnapshotAggregate) else None


def split_entries(text: str) -> list[str]:
    """Return the entries of text that has commas or spaces between them."""
    return text.replace(",", " ").split()


def missing_module(topic: str) -> str:
    """Say that a topic's module is not there, as after a move; imports nothing."""
    name = topic.partition(":")[0].partition(".")[0]
    try:
        found = name in sys.modules or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    return "" if found else f" (Failed to resolve topic: no module {quoted(name)})"


def _has_members(found: type, names: Iterable[str]) -> bool:
    """Return whether a class declares all of the names, without running its code."""
    spaces = [vars(each) for each in found.__mro__]
    return all(
        any(
            name in space or name in space.get("__annotations__", ())
            for space in spaces
        )
        for name in names
    )


def _registered(topic: str) -> str | None:
    """Return the own name of what a topic was registered for, None if it was not."""
    module, _, path = topic.partition(":")
    prefixes = (*_prefixes("", module), *_prefixes(f"{module}:", path))
    for prefix in reversed(prefixes):
        found = utils._topic_cache.get(prefix)
        if isinstance(found, ModuleType):
            return found.__name__ + topic[len(prefix) :]
        if isinstance(found, type):
            own = f"{found.__module__}:{found.__qualname__}"
            return own + topic[len(prefix) :]
    return None


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
