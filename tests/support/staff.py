"""The kinds of people who use the site, and a browser that one of them uses."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support.browsers import Browser

_ESDB = ("projectiontracking", "failedevent", "skippedevent", "storedevent")
_READ_MODELS = ("dog", "schoolcounts", "certificate", "newcomer", "populartrick")
VIEW = tuple(f"view_{each}" for each in (*_ESDB, *_READ_MODELS))
OPERATE = (
    *("pause_projectiontracking", "resume_projectiontracking"),
    *("retry_failedevent", "debug_failedevent", "view_payload"),
)
# A stranger has an account for the admin, and no permission.
KINDS: dict[str, tuple[str, ...] | None] = {
    "stranger": (),
    "viewer": VIEW,
    "operator": (*VIEW, *OPERATE),
    "superuser": None,
}


def make(name: str, permissions: tuple[str, ...] | None) -> User:
    """Make a user with an account for the admin; one without a limit for None."""
    if permissions is None:
        return User.objects.create_superuser(name)
    user = User.objects.create_user(name, is_staff=True)
    chosen = Permission.objects.filter(codename__in=permissions)
    assert {each.codename for each in chosen} == set(permissions)
    user.user_permissions.add(*chosen)
    return user


def may(kind: str, *codenames: str) -> bool:
    """Return whether users of a kind have all of these permissions."""
    permissions = KINDS[kind]
    return permissions is None or set(codenames) <= set(permissions)


def sign_in(browser: Browser, user: User) -> None:
    """Have a browser be that of a user who has logged in."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client.cookies[name].value, "url": browser.url}
    browser.driver.execute_cdp_cmd("Network.setCookie", cookie)


def sign_in_as(
    browser: Browser, kind: str, permissions: tuple[str, ...] | None = ()
) -> User:
    """Have a browser be that of a new user of a kind, or with such permissions."""
    user = make(kind, KINDS.get(kind, permissions))
    sign_in(browser, user)
    return user
