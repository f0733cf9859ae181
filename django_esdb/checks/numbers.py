"""Whether settings that are numbers are so, of a size that makes sense."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _

from django_esdb.conf import settings
from django_esdb.masking import shown_value

# Of what is counted; databases and the event store have no room for much more.
_MOST = 2**31 - 1
_LONGEST_BATCH_SECONDS = 60
_LONGEST_WEB_DEADLINE = 3600
# Below, an owner that is merely slow would lose its lease.
_SHORTEST_LEASE_SECONDS = 0.5
_LONGEST_LEASE_SECONDS = 3600
_LONGEST_EVENT_SECONDS = 86_400
_LONGEST_HEALTHY_SECONDS = 30 * 86_400


def check_numbers() -> Iterator[CheckMessage]:
    """Numbers must be numbers, of a size that makes sense."""
    for name, least, code in (
        ("ESDB_BATCH_SIZE", 1, "django_esdb.E008"),
        ("ESDB_REPLAY_BATCH_SIZE", 1, "django_esdb.E033"),
        ("ESDB_RETRIES", 0, "django_esdb.E012"),
        ("ESDB_MAX_SKIPPED", 0, "django_esdb.E013"),
        ("ESDB_SNAPSHOT_MAX_COUNT", 1, "django_esdb.E019"),
    ):
        count: object = getattr(settings, name)
        if count is None and name == "ESDB_SNAPSHOT_MAX_COUNT":
            continue
        if type(count) is not int or not least <= count <= _MOST:
            yield Error(
                _(
                    "%(name)s is %(count)s, but must be a whole number from "
                    "%(least)s to %(most)s."
                )
                % {
                    "name": name,
                    "count": shown_value(count),
                    "least": least,
                    "most": _MOST,
                },
                id=code,
            )
    most: object = settings.ESDB_MAX_DECOMPRESSED
    if most is not None and (type(most) is not int or not 1 <= most <= sys.maxsize):
        yield Error(
            _(
                "ESDB_MAX_DECOMPRESSED is %(most)s, but must be a whole number of "
                "bytes from 1 to %(maxsize)s."
            )
            % {"most": shown_value(most), "maxsize": sys.maxsize},
            id="django_esdb.E017",
        )
    for name, shortest, longest, code in (
        ("ESDB_BATCH_SECONDS", 0, _LONGEST_BATCH_SECONDS, "django_esdb.E009"),
        (
            "ESDB_LEASE_SECONDS",
            _SHORTEST_LEASE_SECONDS,
            _LONGEST_LEASE_SECONDS,
            "django_esdb.E011",
        ),
        ("ESDB_EVENT_SECONDS", 1, _LONGEST_EVENT_SECONDS, "django_esdb.E014"),
        ("ESDB_WEB_DEADLINE", 0.1, _LONGEST_WEB_DEADLINE, "django_esdb.E015"),
        ("ESDB_MAX_BEHIND", 0, _LONGEST_HEALTHY_SECONDS, "django_esdb.E023"),
        ("ESDB_MAX_IDLE", 1, _LONGEST_HEALTHY_SECONDS, "django_esdb.E024"),
    ):
        seconds: object = getattr(settings, name)
        if (
            not isinstance(seconds, int | float)
            or isinstance(seconds, bool)
            or not shortest <= seconds <= longest
        ):
            yield Error(
                _(
                    "%(name)s is %(seconds)s, but must be a number of seconds from "
                    "%(shortest)s to %(longest)s."
                )
                % {
                    "name": name,
                    "seconds": shown_value(seconds),
                    "shortest": shortest,
                    "longest": longest,
                },
                id=code,
            )
