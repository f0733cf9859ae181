"""Where an error happened, to be logged, stored and shown, and where a thread is."""

from __future__ import annotations

import gc
import re
import sys
import threading
import traceback
from types import FrameType

from django_esdb.exceptions import EventError, EventHangError
from django_esdb.masking import STARS, masked
from eventsourcing_eventstoredb.text import named_line, one_line, storable

# Of the text, in characters. What is longer loses its beginning: the place and the
# cause come last.
LONGEST_TRACEBACK = 6_000
# Of one that is printed when it is asked for, with all that came before its error.
_LONGEST_PRINTED = 100_000
_LONGEST_LINE = 500
_MOST_FRAMES = 40
_CUT = "[...]"
_looking_at_threads = threading.Lock()
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def traceback_of(error: BaseException) -> str:
    """
    Return a bounded traceback without secrets; the innermost place comes last.

    It has the source's lines, without the values of variables. White space at a
    line's beginning stays, and what cannot be seen is escaped.

    Args:
        error: For an event's error the cause is shown, or where it hangs.

    Returns:
        Lines without a line break at the end; empty if no place is known.
    """
    if isinstance(error, EventHangError):
        return safe_lines(error.stack)
    if isinstance(error, EventError):
        if error.__cause__ is None:
            return ""
        error = error.__cause__
    if error.__traceback__ is None:
        return ""
    return safe_lines(_formatted(error))


def masked_traceback(error: BaseException) -> str:
    """
    Return the traceback of an error and of its causes, which come first.

    It is as that of :func:`traceback_of`, but whole as long as 100,000 characters
    are enough.
    """
    return safe_lines(_formatted(error), _LONGEST_PRINTED)


def frame_of(thread: int) -> FrameType | None:
    """Return where a thread is, by its ident; None if it has ended."""
    # Before Python 3.11.8 and 3.12.2 a search for garbage meanwhile may let another
    # thread run, which waits for ever if it starts one: all threads are locked then.
    with _looking_at_threads:
        is_enabled = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames().get(thread)
        finally:
            if is_enabled:
                gc.enable()


def _formatted(error: BaseException) -> str:
    # A negative limit keeps the innermost frames. Values are never asked for.
    try:
        parts = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES)
        return "".join(parts.format())
    except BaseException:
        # Code of the error's own, such as that of its notes, has failed in turn.
        places = traceback.format_tb(error.__traceback__, -_MOST_FRAMES)
        return "".join([*places, named_line(error)])


def safe_lines(text: str, limit: int = LONGEST_TRACEBACK) -> str:
    """Return lines, bounded, without secrets and with nothing that cannot be seen."""
    lines = _PRIVATE_KEY.sub(STARS, text).rstrip().split("\n")
    last, length = [], -1
    # No more of them than are kept: an error's text may have millions.
    while lines and length <= limit:
        last.append(_safe_line(lines.pop()))
        length += len(last[-1]) + 1
    said = "\n".join(reversed(last))
    if len(said) <= limit:
        return said
    kept = said[-(limit - len(_CUT) - 1) :]
    # Not from the middle of a line, where there are several.
    first, line_break, rest = kept.partition("\n")
    return f"{_CUT}\n{rest if line_break else first}"


def _safe_line(line: str) -> str:
    bare = line.lstrip(" ")
    if not bare.strip():
        return ""
    indent = line[: min(len(line) - len(bare), 40)]
    return indent + storable(one_line(masked("", bare), _LONGEST_LINE))
