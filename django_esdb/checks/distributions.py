"""Checks of what else is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distributions

from django.core import checks
from django.core.checks import CheckMessage
from django.utils.translation import gettext as _

_OURS = "django-esdb"
_PACKAGE = "eventsourcing_eventstoredb"


def check_distributions() -> Iterator[CheckMessage]:
    """Another distribution has a package of the same name."""
    others = sorted(set(_installers()) - {_OURS})
    if others:
        yield checks.Warning(
            _(
                "%(names)s also installs eventsourcing_eventstoredb, and whichever "
                "came last has overwritten the other's files."
            )
            % {"names": ", ".join(others)},
            hint=_("pip uninstall %(names)s, then reinstall django-esdb.")
            % {"names": " ".join(others)},
            id="django_esdb.W001",
        )


def _installers() -> Iterator[str]:
    """
    Yield the distributions that have the package.

    packages_distributions() of the standard library, which parses what all have of
    everything, takes a third of a command's start.
    """
    for distribution in distributions():
        listed = distribution.read_text("top_level.txt")
        if listed is not None:
            is_there = _PACKAGE in listed.split()
        else:
            listed = distribution.read_text("RECORD") or ""
            is_there = f"\n{_PACKAGE}/" in f"\n{listed}"
        if is_there:
            yield distribution.metadata["Name"]
