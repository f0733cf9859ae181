"""
Which topics the events of an application have, and which of them can be read.

All events are read, since EventStoreDB cannot be asked for topics alone. Of each
nothing is kept but its topic, and no event is decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Notification
from eventsourcing.utils import resolve_topic

from django_esdb.applications.shared import make_application
from django_esdb.conf import build_env
from eventsourcing_eventstoredb.recorders.recorded import recorded_notifications
from eventsourcing_eventstoredb.text import named_line
from eventsourcing_eventstoredb.topics.allowlist import TopicAllowlist, missing_module
from eventsourcing_eventstoredb.topics.id_types import is_uuid, topic_originator_id_type

# A client that can write to the store can make any number of them, of any length.
MOST_TOPICS = 10_000
_LONGEST_TOPIC = 1_000

_PAGE = 100


@dataclass(frozen=True)
class StoredTopic:
    """
    A topic of stored events.

    Attributes:
        topic: What it is; cut where it has more than 1,000 characters.
        count: How many events have it.
        problem: Why no event can be made of it; empty if one can be.
    """

    topic: str
    count: int
    problem: str = ""


@dataclass(frozen=True)
class StoredTopics:
    """
    The topics of an application's events.

    Attributes:
        application: The application's name.
        topics: Those with problems first, then by how many events have them.
        passed_over: Those of events that projections pass over: nothing says what
            type of ID they have, and their streams are not named by UUIDs.
        uncounted: How many events have topics beyond the first 10,000.
    """

    application: str
    topics: tuple[StoredTopic, ...]
    passed_over: tuple[StoredTopic, ...]
    uncounted: int

    @property
    def events(self) -> int:
        """How many events the application has."""
        return sum(each.count for each in self.topics) + self.uncounted

    @property
    def is_readable(self) -> bool:
        """Whether an event can be made of each."""
        return not self.uncounted and not any(each.problem for each in self.topics)


def stored_topics(application_class: type[Application[Any]]) -> StoredTopics:
    """
    Read an application's events, and tell their topics; blocks until all are read.

    Events that are saved meanwhile may be left out. Memory is needed for the topics,
    and for a bounded number of events.

    Args:
        application_class: Made and closed again, with the settings as they are.

    Raises:
        eventsourcing.persistence.InfrastructureFactoryError: The settings do not say
            where the events are, or cannot be used.
        eventsourcing.persistence.PersistenceError: The store cannot be read.
        django_esdb.exceptions.ConfigurationError: A setting is malformed.
    """
    application = make_application(application_class, build_env(application_class))
    with closing(application):
        return _Looking(application).look()


class _Looking:
    def __init__(self, application: Application[Any]) -> None:
        self._application = application
        self._recorder: Any = application.recorder
        mapper: Any = application.mapper
        self._allowlist: TopicAllowlist = mapper.allowlist
        # Others tell which events are theirs without looking at any class.
        self._is_on_eventstoredb = hasattr(self._recorder, "all_stream")
        self._id_type: type | None = None
        self._has_text_ids = False

    def look(self) -> StoredTopics:
        counts: Counter[tuple[str, bool]] = Counter()
        uncounted = 0
        for notification in self._notifications():
            key = (
                notification.topic[:_LONGEST_TOPIC],
                is_uuid(str(notification.originator_id)),
            )
            if key in counts or len(counts) < MOST_TOPICS:
                counts[key] += 1
            else:
                uncounted += 1
        problems = {topic: self._problem(topic) for topic, _ in counts}
        self._find_text_ids(problems)
        own: Counter[str] = Counter()
        passed_over: Counter[str] = Counter()
        for (topic, has_uuid), count in counts.items():
            is_own = self._is_own(topic, has_uuid)
            (own if is_own else passed_over)[topic] += count
        return StoredTopics(
            self._application.name,
            _in_order(own, problems),
            _in_order(passed_over, {}),
            uncounted,
        )

    def _notifications(self) -> Iterator[Notification]:
        if not self._is_on_eventstoredb:
            return self._selected()
        self._id_type = self._recorder.originator_id_type
        # Whatever its classes say, so that those which are not there any more are seen.
        self._recorder.originator_id_type = str
        return recorded_notifications(self._recorder)

    def _selected(self) -> Iterator[Notification]:
        last = None
        while True:
            page = self._recorder.select_notifications(
                last, _PAGE, inclusive_of_start=False
            )
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].id

    def _problem(self, topic: str) -> str:
        objection = self._allowlist.objection_to_event(topic)
        if objection is not None:
            return f"{objection}{missing_module(topic)}"
        try:
            resolve_topic(topic)
        except Exception as error:
            # Whatever its module raises when it is imported.
            return f"does not resolve: {named_line(error)}"
        return ""

    def _find_text_ids(self, problems: dict[str, str]) -> None:
        """Note whether streams of any name may be those of the application."""
        if self._is_on_eventstoredb:
            self._has_text_ids = (
                self._id_type is str
                or bool(self._recorder.layout.prefix)
                or any(
                    topic_originator_id_type(topic) is str
                    for topic, problem in problems.items()
                    if not problem
                )
            )

    def _is_own(self, topic: str, has_uuid: bool) -> bool:
        """Tell whether projections get an event, or would if its class was there."""
        if has_uuid or not self._is_on_eventstoredb:
            return True
        if self._id_type is not None:
            return self._id_type is str
        known = (
            topic_originator_id_type(topic) if self._allowlist.permits(topic) else None
        )
        return known is str or (known is None and self._has_text_ids)


def _in_order(
    counts: Counter[str], problems: dict[str, str]
) -> tuple[StoredTopic, ...]:
    topics = [
        StoredTopic(topic, count, problems.get(topic, ""))
        for topic, count in counts.items()
    ]
    topics.sort(key=lambda each: (not each.problem, -each.count, each.topic))
    return tuple(topics)
