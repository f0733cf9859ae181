"""
Which client library is used, of the two that there are; loads neither.

``esdbclient`` and its successor ``kurrentdbclient`` speak to the same servers. Each has
the generated code of the protocol's messages, under the same names, so that one process
cannot have both. This package takes one of them for all that it does, and so does the
embedded server.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec

ESDBCLIENT = "esdbclient"
KURRENTDBCLIENT = "kurrentdbclient"

#: The first one that is installed is used, unless something says otherwise.
LIBRARIES = (ESDBCLIENT, KURRENTDBCLIENT)

#: The environment variable that says otherwise, for the whole process.
VARIABLE = "EVENTSTOREDB_CLIENT"

# Holds against the variable: an application's environment may say something else.
_loaded: str | None = None


class ClientLibraryError(ImportError):
    """No client library can be used; the text is one line and says what to do."""


def choose(wanted: str | None = None) -> str:
    """
    Return the name of the client library to use; imports nothing.

    It is the one that is wanted, else what :data:`VARIABLE` names, else what the
    process has imported, else the first of :data:`LIBRARIES` that is installed.

    Args:
        wanted: One of :data:`LIBRARIES`; None or empty for no wish.

    Raises:
        ClientLibraryError: It is unknown or not installed, or the process has imported
            the other one, or both.
    """
    wanted = wanted or _loaded or os.environ.get(VARIABLE) or None
    if wanted is not None and wanted not in LIBRARIES:
        msg = f"{VARIABLE} is {wanted[:30]!r}, but must be {' or '.join(LIBRARIES)}"
        raise ClientLibraryError(msg)
    imported = [name for name in LIBRARIES if _is_imported(name)]
    if len(imported) > 1:
        msg = (
            f"{' and '.join(imported)} were both imported, but a process can have one "
            "only, since both define the same messages: import one, and name it with "
            f"{VARIABLE}"
        )
        raise ClientLibraryError(msg)
    if imported:
        return _the_imported(imported[0], wanted)
    return _the_installed(wanted)


def load(wanted: str | None = None) -> str:
    """
    Import the client library to use, which settles it for the process.

    Args:
        wanted: As for :func:`choose`.

    Returns:
        Its name.

    Raises:
        ClientLibraryError: As :func:`choose` does.
    """
    global _loaded
    name = choose(wanted)
    importlib.import_module(name)
    _loaded = name
    return name


def _is_imported(name: str) -> bool:
    # Where the import of a package fails, modules of it stay. There are thousands, and
    # each application asks: in one text they are looked through in no time.
    return name in sys.modules or f"\n{name}." in "\n".join(("", *sys.modules))


def _the_imported(name: str, wanted: str | None) -> str:
    if wanted not in (None, name):
        msg = (
            f"{VARIABLE} is {wanted!r}, but this process has imported {name}, and can "
            "have one of them only"
        )
        raise ClientLibraryError(msg)
    return name


def _the_installed(wanted: str | None) -> str:
    for name in (wanted,) if wanted else LIBRARIES:
        if find_spec(name) is not None:
            return name
    if wanted:
        msg = (
            f"{VARIABLE} is {wanted!r}, but {wanted} is not installed: install it, or "
            "unset the variable"
        )
    else:
        msg = (
            f"no client library is installed: install {KURRENTDBCLIENT}, or, with "
            f"Python below 3.14, {ESDBCLIENT}"
        )
    raise ClientLibraryError(msg)
