"""Lines of the log: a text, and what it is about as key=value and as attributes."""

from __future__ import annotations

import logging
from typing import Any


def log(
    logger: logging.Logger,
    level: int,
    text: str,
    /,
    *,
    below: str = "",
    exc_info: bool = False,
    **values: Any,
) -> None:
    """
    Write a line such as ``Projection paused: projection=P position=7 error=...``.

    The values are also attributes of the record, so that a formatter can write them as
    JSON: those of the line, and no others.

    Args:
        logger: Where to.
        level: One of :mod:`logging`'s.
        text: What has happened, always in the same words.
        below: More lines, such as a traceback; ``traceback`` among the attributes.
        exc_info: Whether to add the exception that is being handled.
        values: What it is about, in this order; what is None or empty is left out. None
            is named as an attribute that records have anyway.
    """
    if not logger.isEnabledFor(level):
        return
    named = {key: value for key, value in values.items() if value not in (None, "")}
    message = text + ":" + "".join(f" {key}=%s" for key in named)
    arguments = list(named.values())
    if below:
        message += "\n%s"
        arguments.append(below)
        named["traceback"] = below
    # The line of who has called is the one that is looked for.
    logger.log(level, message, *arguments, extra=named, exc_info=exc_info, stacklevel=2)
