"""Accepting the rows of a projection whose definition has changed."""

from __future__ import annotations

from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from django_esdb.status.status import is_definition_changed


def accept_definition(registration: Registration) -> bool:
    """
    Note that a projection's rows are right with the code of today.

    Returns:
        Whether that was not so before. Rows that are not begun have nothing to accept.

    Raises:
        django.db.Error: The database cannot be used.
    """
    rows = registration.tracked().queryset()
    row = rows.first()
    if row is None or not is_definition_changed(registration, row):
        return False
    # Not those that were begun meanwhile, by whatever code that was.
    same = rows.filter(fingerprint=row.fingerprint, position__isnull=False)
    return bool(same.update(fingerprint=fingerprint(registration)))
