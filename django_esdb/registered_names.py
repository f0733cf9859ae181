"""The names of registered projections, for texts of what lies below the registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from eventsourcing_eventstoredb.text import quoted

# Of a build's own row in the tracking table: the projection's name, with this behind.
BESIDE = "__beside"

_list_names: Callable[[], Iterable[str]] = tuple


def list_by(names: Callable[[], Iterable[str]]) -> None:
    """Ask this from now on for the names that there are."""
    global _list_names
    _list_names = names


def no_projection(name: str, names: Iterable[str]) -> str:
    """Return a text that no projection has this name, and which names there are."""
    known = tuple(names)
    listed = ", ".join(known) or "none"
    return (
        f"No projection {quoted(name)} is registered{build_hint(name, known)}; "
        f"registered: {listed}"
    )


def build_hint(name: str, names: Collection[str]) -> str:
    """Return what goes by a name that is a build's; empty if it is none's."""
    of = name.removesuffix(BESIDE)
    if of == name or of not in names:
        return ""
    return f": it is what rebuildprojection {of} --beside builds, so name {of}"


def not_registered(name: str) -> str | None:
    """Return such a text about the registered ones; None if one has this name."""
    names = tuple(_list_names())
    return None if name in names else no_projection(name, names)
