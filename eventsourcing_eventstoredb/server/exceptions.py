"""Why the server cannot start."""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot start; the message says why and what to do."""
