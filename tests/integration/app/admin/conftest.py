from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client

from django_esdb.admin import failed_events


@pytest.fixture
def user(client: Client) -> Callable[..., User]:
    """Log in with some permissions, and those to view."""

    def user(*codenames: str) -> User:
        user = User.objects.create_user("operator", is_staff=True)
        views = ("view_projectiontracking", "view_failedevent")
        chosen = Permission.objects.filter(codename__in=(*views, *codenames))
        assert len(chosen) == 2 + len(codenames)
        user.user_permissions.add(*chosen)
        client.force_login(user)
        return user

    return user


@pytest.fixture
def retries_in_transactions(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Have each request be one transaction; tell whether retries were within it."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    found: list[bool] = []
    retry = failed_events.retry_events

    def look(*args: Any) -> Any:
        found.append(connections["default"].in_atomic_block)
        return retry(*args)

    monkeypatch.setattr(failed_events, "retry_events", look)
    return found
