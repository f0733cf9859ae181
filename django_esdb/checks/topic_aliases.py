"""The system check of old topics: one that leads nowhere leaves events unreadable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _
from eventsourcing.utils import Environment

from django_esdb.masking import without_credentials
from django_esdb.topics.aliases import apply_topic_aliases
from django_esdb.topics.allowlist import allowlist_of
from eventsourcing_eventstoredb.text import quoted
from eventsourcing_eventstoredb.topics.aliases import topic_aliases
from eventsourcing_eventstoredb.topics.allowlist import TopicAllowlist


def check_topic_aliases(environments: Iterable[Environment]) -> Iterator[CheckMessage]:
    """Each must lead to a class that events may be made of, for all applications."""
    problems = [*apply_topic_aliases().values()]
    allowlists = [allowlist_of(env) for env in environments]
    for topic in topic_aliases():
        found = (_objection(topic, allowlist) for allowlist in allowlists)
        problems.extend(islice(filter(None, found), 1))
    for problem in problems:
        yield Error(
            _("ESDB_TOPIC_ALIASES cannot be used: %(reason)s.")
            % {"reason": without_credentials(problem)},
            hint=_(
                "It has the class for each topic that is no name of a class any more: "
                '{"old_school:Dog": "school.domain:Dog"}.'
            ),
            id="django_esdb.E031",
        )


def _objection(topic: str, allowlist: TopicAllowlist) -> str:
    """Return what speaks against events, snapshots and aggregates of a topic."""
    objection = allowlist.objection_to_aggregate(topic)
    if objection is not None:
        objection = allowlist.objection_to_event(topic)
    return "" if objection is None else f"{quoted(topic)} {objection}"
