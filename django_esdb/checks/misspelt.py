"""What a name that is not known is likely meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from django.utils.translation import gettext as _


def nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that is most like another one, None if none is."""
    found = get_close_matches(name.upper(), sorted(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def suggestion(meant: str) -> str:
    """Return the hint of a check that takes a name for another one."""
    return _("Did you mean %(name)s? If not, silence this check.") % {"name": meant}
