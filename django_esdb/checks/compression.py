"""Whether what decompresses events' data can be stopped when it is too much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.utils.translation import gettext as _
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment, resolve_topic

from django_esdb.masking import without_credentials
from eventsourcing_eventstoredb.encoding.compression import is_bounded
from eventsourcing_eventstoredb.text import quoted


def check_compressor(env: Environment) -> Iterator[CheckMessage]:
    """An application's compressor should not make more than it is asked for."""
    topic = env.get(InfrastructureFactory.COMPRESSOR_TOPIC)
    if not topic:
        return
    compressor: Any = None
    # What cannot be made is told when an application is.
    with suppress(Exception):
        found = resolve_topic(topic)
        compressor = found() if isinstance(found, type) else found
    if hasattr(compressor, "decompress") and not is_bounded(compressor):
        yield Warning(
            _(
                "The compressor %(name)s cannot be stopped: what it makes of a small "
                "event may need all memory before it is found to be too large."
            )
            % {"name": without_credentials(quoted(topic))},
            hint=_(
                "Let its decompress() take max_length, and return no more bytes than "
                "that. Silence this check if it has a limit of its own."
            ),
            id="django_esdb.W012",
        )
