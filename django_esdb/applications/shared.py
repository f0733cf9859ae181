"""Applications for web requests: one of each class in a process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed
from django.dispatch import receiver
from eventsourcing.application import Application
from eventsourcing.persistence import OperationalError, Recording
from eventsourcing.utils import EnvType

from django_esdb.applications.store_address import say_where_store_is
from django_esdb.conf import APPLICATION_SETTINGS, build_env
from django_esdb.masking import forget_locals
from django_esdb.topics.allowlist import guard_application, with_allowlist
from eventsourcing_eventstoredb.deadlines import seconds_left

TApplication = TypeVar("TApplication", bound=Application[Any])

# What a request has saved it reads again, from whichever node it was told to prefer.
_NODE_PREFERENCE = "EVENTSTOREDB_NODE_PREFERENCE"

_lock = threading.Lock()
_applications: dict[type[Application[Any]], Application[Any]] = {}


def get_application(application_class: type[TApplication]) -> TApplication:
    """
    Return this process's application of the class, configured from settings.

    It is made at first use, may be shared by threads, and is closed and made
    again when a setting that it was made from changes. A forked child makes its own.
    In a cluster it reads from the leader, unless ``EVENTSTOREDB_NODE_PREFERENCE`` says
    otherwise in ``ESDB_ENV`` or in the process's environment.

    Raises:
        eventsourcing.persistence.InfrastructureFactoryError: The settings do
            not say where the event store is, or cannot be used.
        eventsourcing.persistence.OperationalError: The event store cannot be used
            now, or not in the time that the web request has.
        django_esdb.exceptions.ConfigurationError: ESDB_TOPIC_ALLOWLIST is
            malformed.
    """
    # Most ask for one that is there, and wait for no other that is being made.
    application = _applications.get(application_class)
    if application is None:
        application = _make_once(application_class)
    assert isinstance(application, application_class)
    return application


def _make_once(application_class: type[TApplication]) -> Application[Any]:
    with _in_turn():
        application = _applications.get(application_class)
        if application is None:
            env = _prefer_leader(application_class, build_env(application_class))
            application = make_application(application_class, env)
            _applications[application_class] = application
    return application


async def asave(
    application: Application[Any], *objs: Any, **kwargs: Any
) -> list[Recording[Any]]:
    """
    Save as the application's ``save`` does, in a thread; the event loop continues.

    With Django's ASGI handler each request has a thread of its own, so that requests
    save side by side. A task that is cancelled meanwhile does not wait for the end: the
    events may be saved all the same.

    Args:
        application: Such as :func:`get_application` returns.
        objs: Aggregates and events to save.

    Raises:
        eventsourcing.persistence.PersistenceError: As ``save`` does.
    """
    return await sync_to_async(application.save)(*objs, **kwargs)


@contextmanager
def _in_turn() -> Iterator[None]:
    """Hold the lock; another thread may be connecting, which a deadline limits."""
    lock = _lock
    left = seconds_left(threading.TIMEOUT_MAX)
    if not lock.acquire(timeout=max(left, 0)):
        msg = (
            "Connecting to the event store: another thread still tries to, and the "
            "time for this work is over"
        )
        raise OperationalError(msg)
    try:
        yield
    finally:
        lock.release()


def from_leader(
    application_class: type[Application[Any]], env: dict[str, str]
) -> dict[str, str]:
    """Return an environment in which an application surely reads from the leader."""
    own = f"{application_class.name.upper()}_{_NODE_PREFERENCE}"
    return {**env, _NODE_PREFERENCE: "leader", own: "leader"}


def _prefer_leader(
    application_class: type[Application[Any]], env: dict[str, str]
) -> dict[str, str]:
    # By itself, since error pages show the variables of functions that fail.
    for given in (env, os.environ, application_class.env):
        if _NODE_PREFERENCE in given:
            return env
    return {**env, _NODE_PREFERENCE: "leader"}


def make_application(
    application_class: type[TApplication], env: EnvType
) -> TApplication:
    """
    Make an application that the caller closes.

    It makes objects of allowed topics only, and no secret of the environment is in
    the frames of what is raised.

    Raises:
        eventsourcing.persistence.InfrastructureFactoryError: The environment does
            not say where the event store is, or cannot be used.
        django_esdb.exceptions.ConfigurationError: ESDB_TOPIC_ALLOWLIST is
            malformed.
    """
    application = None
    try:
        application = application_class(with_allowlist(env, application_class.env))
        guard_application(application)
        say_where_store_is(application)
    except BaseException as error:
        if application is not None:
            application.close()
        forget_locals(error)
        raise
    return application


def close_applications() -> None:
    """Close what :func:`get_application` has made; later calls make others."""
    with _lock:
        applications = list(_applications.values())
        _applications.clear()
    for application in applications:
        with contextlib.suppress(Exception):
            # One that cannot be closed must not keep the others open.
            application.close()


@receiver(setting_changed)
def _close_on_changed_settings(*, setting: str, **kwargs: Any) -> None:
    if setting in APPLICATION_SETTINGS:
        close_applications()


def _forget_after_fork() -> None:
    # A child cannot use its parent's connections, nor close them for it.
    global _lock
    _lock = threading.Lock()
    _abandoned.append(dict(_applications))
    _applications.clear()


_abandoned: list[dict[type[Application[Any]], Application[Any]]] = []
os.register_at_fork(after_in_child=_forget_after_fork)
