"""What is answered when a group cannot do what a client asks."""

from __future__ import annotations

from eventsourcing_eventstoredb.server.errors import ProtocolError


class GroupMissingError(ProtocolError):
    """There is no such group."""

    def __init__(self, source: str, group: str) -> None:
        super().__init__(
            "NOT_FOUND",
            f"Subscription group {group} on stream {source} does not exist.",
            exception="persistent-subscription-does-not-exist",
            stream_name=source,
            group_name=group,
        )


class GroupExistsError(ProtocolError):
    """There is such a group already."""

    def __init__(self, source: str, group: str) -> None:
        super().__init__(
            "ALREADY_EXISTS",
            f"Subscription group {group} on stream {source} exists.",
            exception="persistent-subscription-exists",
            stream_name=source,
            group_name=group,
        )


class GroupFailedError(ProtocolError):
    """The group cannot be made like this."""

    def __init__(self, source: str, group: str, reason: str) -> None:
        super().__init__(
            "INTERNAL",
            f"Subscription group {group} on stream {source} failed: '{reason}'",
            exception="persistent-subscription-failed",
            stream_name=source,
            group_name=group,
            reason=reason,
        )


class GroupDroppedError(ProtocolError):
    """The group was deleted or changed while it was read."""

    def __init__(self, source: str, group: str) -> None:
        super().__init__(
            "CANCELLED",
            f"Subscription group {group} on stream {source} was dropped.",
            exception="persistent-subscription-dropped",
            stream_name=source,
            group_name=group,
        )


class TooManyConsumersError(ProtocolError):
    """The group has as many consumers as it may have."""

    def __init__(self, source: str, group: str) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            "Maximum subscriptions reached for subscription group"
            f" {group} on stream {source}.",
            exception="maximum-subscribers-reached",
            stream_name=source,
            group_name=group,
        )
