"""Which database a view is kept in: one for its rows and its position."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections, models, router

from django_esdb.exceptions import ViewDatabaseError
from django_esdb.models import ProjectionTracking


def view_database(view_name: str, using: str | None, read_models: Any) -> str:
    """
    Return the alias of the database that a view's rows and position are kept in.

    Args:
        view_name: The view's class, for messages.
        using: The alias that it names; None for where the first read model is
            written, else the tracking model.
        read_models: What it has declared, which may be anything.

    Raises:
        ViewDatabaseError: There is no such database, or a read model is written to
            another one, or *read_models* are no models.
    """
    if not isinstance(read_models, Iterable) or not all(map(_is_model, read_models)):
        example = read_models.__name__ if _is_model(read_models) else "Model"
        msg = f"{view_name}.read_models must be models in a tuple: ({example},)"
        raise ViewDatabaseError(msg)
    written = {model._meta.label: router.db_for_write(model) for model in read_models}
    alias = using or next(
        iter(written.values()), router.db_for_write(ProjectionTracking)
    )
    if alias not in connections:
        known = ", ".join(connections)
        msg = f"{view_name} uses database {alias!r}; DATABASES has {known}"
        raise ViewDatabaseError(msg)
    for label, other in written.items():
        if other != alias:
            msg = (
                f"{view_name} keeps its position in database {alias!r}, but {label} is "
                f"written to {other!r}, so one transaction cannot hold both; set "
                f"using = {other!r} on {view_name}"
            )
            raise ViewDatabaseError(msg)
    return alias


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, models.Model)
