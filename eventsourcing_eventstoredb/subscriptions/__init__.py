"""Following an application's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.subscriptions.subscription import (
        EventStoreDBSubscription,
    )

__all__ = ["EventStoreDBSubscription"]


def __getattr__(name: str) -> object:
    # Late, since it loads gRPC, which the buffer and the states do without.
    if name in __all__:
        from eventsourcing_eventstoredb.subscriptions import (
            subscription,
        )

        return getattr(subscription, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
