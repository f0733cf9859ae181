"""Why the server cannot start."""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot start; the message says why and what to do."""


def error_line(error: Exception) -> str:
    """Return what an error says as one line; names of files and hosts may be any."""
    line = " ".join(str(error).split())
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in line
    )
