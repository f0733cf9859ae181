from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


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
