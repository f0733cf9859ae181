"""The names of registered projections, for texts of what lies below the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eventsourcing_eventstoredb.text import quoted

_list_names: Callable[[], Iterable[str]] = tuple


def list_by(names: Callable[[], Iterable[str]]) -> None:
    """Ask this from now on for the names that there are."""
    global _list_names
    _list_names = names


def no_projection(name: str, names: Iterable[str]) -> str:
    """Return a text that no projection has this name, and which names there are."""
    listed = ", ".join(names) or "none"
    return f"No projection {quoted(name)} is registered; registered: {listed}"


def not_registered(name: str) -> str | None:
    """Return such a text about the registered ones; None if one has this name."""
    names = tuple(_list_names())
    return None if name in names else no_projection(name, names)
