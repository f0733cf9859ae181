"""Packages that are not required."""

from __future__ import annotations

from importlib.util import find_spec

from django_esdb.exceptions import MissingExtraError


def require(module: str, extra: str, asked_by: str) -> None:
    """
    Refuse to continue without a package.

    Args:
        module: What it is imported as.
        extra: This package's extra that installs it.
        asked_by: The module that needs it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec(module) is None:
        msg = f"{asked_by} needs {module}: install django-esdb[{extra}]"
        raise MissingExtraError(msg)
