"""
Parts of others that are not documented, and why there is no way without them.

What can be kept apart is here. What belongs where it is used is listed here:

- ``runner/projection_runner.py`` overrides ``ProjectionRunner._process_events_loop`` of
  the eventsourcing library, and sets ``_thread_error``: the library processes events
  one by one in a transaction each, and has no public hook for another way.
- ``registry.py`` names its dictionary ``_registry``, which is the protocol of Django's
  ``autodiscover_modules(register_to=...)``: a module that fails to be imported leaves
  nothing registered.

``tests/django_esdb/test_private_parts.py`` fails when one of them is gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

_MOST = "max_query_params"


@contextmanager
def all_parameters(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """
    Let Django use as many parameters in a statement as SQLite takes.

    It assumes 999, the default of an old SQLite, where it does not ask; a batch would
    become many statements. A ``batch_size`` can only make them smaller, so the features
    object of this connection is told meanwhile. Its class is left alone. Other
    databases have no such limit.
    """
    getlimit = getattr(connection.connection, "getlimit", None)
    if getlimit is None:
        yield
        return
    features: Any = vars(connection.features)
    before = features.get(_MOST)
    features[_MOST] = getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    try:
        yield
    finally:
        if before is None:
            del features[_MOST]
        else:
            features[_MOST] = before
