"""The demo's database and its admin user, made in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping

import django
from django.core.management import call_command
from django.db import connections


def prepare(env: Mapping[str, str], *, user_name: str, password: str) -> bool:
    """
    Make or update the tables, and see to it that the admin can log in.

    Sets Django up in this process, which can be done once.

    Args:
        env: The environment that the settings are read from.
        user_name: The admin's.
        password: The admin's; it takes the place of another one.

    Returns:
        Whether it is the first time.

    Raises:
        django.db.Error: The database cannot be used.
    """
    os.environ.update(env)
    django.setup()
    # A model can be loaded from now on only.
    from django.contrib.auth.models import User

    from example_project.showcase.staging import have_one_behind

    call_command("migrate", verbosity=0, interactive=False)
    user, _ = User.objects.get_or_create(
        username=user_name, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save()
    is_first = have_one_behind(user)
    connections.close_all()
    return is_first


def rebuild_one(user_name: str) -> None:
    """
    Have a projection rebuilt, after ``prepare``.

    Raises:
        django.db.Error: The database cannot be used.
    """
    from django.contrib.auth.models import User

    from example_project.showcase.staging import have_one_rebuilt

    have_one_rebuilt(User.objects.get(username=user_name))
    connections.close_all()
