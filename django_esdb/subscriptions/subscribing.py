"""Subscribing to applications on any persistence module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, TypeVar

from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, Subscription
from eventsourcing.projection import ApplicationSubscription
from eventsourcing.utils import EnvType

from django_esdb.db.connections import with_connections_kept
from django_esdb.subscriptions.polling import PollingSubscription
from django_esdb.subscriptions.reminding import remind

TApplication = TypeVar("TApplication", bound=Application[Any])

# Before 9.5 the library's own subscriptions do not end while much is left to take,
# and with PostgreSQL not before another event is recorded.
_SUBSCRIPTIONS_END = tuple(map(int, version("eventsourcing").split(".")[:2])) >= (9, 5)
_LIBRARY_MODULES = ("eventsourcing.popo", "eventsourcing.postgres")


def with_subscription(
    application_class: type[TApplication],
    made: Callable[[Application[Any]], object] = lambda app: None,
) -> type[TApplication]:
    """
    Return the application's class, in a form that can always be subscribed to.

    Where its recorder has no subscription, it is polled.

    Args:
        application_class: The class.
        made: Called with each application as soon as it has its recorder.
    """

    class Subscribable(application_class):  # type: ignore[valid-type, misc]
        name = application_class.name

        def construct_recorder(self) -> ApplicationRecorder:
            recorder: ApplicationRecorder = super().construct_recorder()
            subscribe = recorder.subscribe

            def subscribe_or_poll(
                gt: int | None = None, topics: Sequence[str] = ()
            ) -> Subscription[ApplicationRecorder]:
                if not _is_to_be_polled(recorder):
                    with suppress(NotImplementedError):
                        subscription = subscribe(gt=gt, topics=topics)
                        remind(subscription)
                        return subscription
                return PollingSubscription(recorder, gt, topics)

            recorder.subscribe = subscribe_or_poll  # type: ignore[method-assign]
            return recorder

        def __init__(self, env: EnvType | None = None) -> None:
            super().__init__(env)
            made(self)

    Subscribable.__name__ = application_class.__name__
    Subscribable.__qualname__ = application_class.__qualname__
    Subscribable.__module__ = application_class.__module__
    return Subscribable


class KeptSubscription:
    """
    A subscription for the library's loop, in which connections are looked after.

    Args:
        subscription: The library's.
    """

    def __init__(self, subscription: ApplicationSubscription[Any]) -> None:
        self._subscription = subscription

    def __iter__(self) -> Iterator[Any]:
        return with_connections_kept(self._subscription)

    def __enter__(self) -> KeptSubscription:
        """Enter the subscription; the loop does so before 9.5."""
        self._subscription.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop the subscription."""
        self._subscription.__exit__(*exc_info)


def _is_to_be_polled(recorder: ApplicationRecorder) -> bool:
    return not _SUBSCRIPTIONS_END and any(
        base.__module__ in _LIBRARY_MODULES for base in type(recorder).__mro__
    )
