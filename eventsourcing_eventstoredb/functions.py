"""Functions that settings name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any

from eventsourcing_eventstoredb.text import named_line, quoted


def named_function(name: str) -> Callable[..., Any]:
    """
    Return the function that a dotted path or a topic names; imports its module.

    Args:
        name: Such as ``school.events.metadata`` or ``school.events:metadata``.

    Raises:
        ValueError: There is none, or it cannot be called without being awaited.
    """
    module, separator, path = name.partition(":")
    if not separator:
        module, _, path = name.rpartition(".")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        # Whatever the module raises when it is imported.
        msg = f"{quoted(name)} cannot be imported: {named_line(error)}"
        raise ValueError(msg) from error
    if not callable(found):
        msg = f"{quoted(name)} is no function"
        raise ValueError(msg)
    if iscoroutinefunction(found):
        msg = f"{quoted(name)} is async def, but is called and not awaited"
        raise ValueError(msg)
    function: Callable[..., Any] = found
    return function
