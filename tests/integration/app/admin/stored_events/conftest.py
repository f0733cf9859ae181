from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_esdb.admin import event_reading


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait for longer, since tests share the machine."""
    monkeypatch.setattr(event_reading, "SECONDS", 60.0)


@pytest.fixture
def login(client: Client) -> Callable[..., Client]:
    """Log in with some permissions."""

    def login(*codenames: str) -> Client:
        user = User.objects.create_user(str(uuid4()), is_staff=True)
        chosen = Permission.objects.filter(codename__in=codenames)
        assert len(chosen) == len(codenames)
        user.user_permissions.add(*chosen)
        client.force_login(user)
        return client

    return login


@pytest.fixture
def viewer(login: Callable[..., Client]) -> Client:
    return login("view_storedevent")


@pytest.fixture
def reader(login: Callable[..., Client]) -> Client:
    return login("view_storedevent", "view_payload")
