"""Telling what becomes of batches, and of events that are given up."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.dispatch import Signal
from eventsourcing.persistence import Notification
from eventsourcing.projection import Projection

from django_esdb import signals
from django_esdb.exceptions import EventError
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.subscriptions.received import ReceivedEvent
from eventsourcing_eventstoredb.text import describe

_GIVEN_UP = {
    OnFailure.PARK: signals.event_parked,
    OnFailure.SKIP: signals.event_skipped,
}


def send_event_failed(
    sender: signals.Sender,
    error: EventError,
    policy: FailurePolicy,
    seconds: float | None,
    *,
    is_first: bool,
) -> None:
    """Tell that an event has failed, and when it is tried again; None for never."""
    sender.send(
        signals.event_failed,
        position=error.position,
        error=error,
        failures=policy.failures,
        retries=policy.retries,
        seconds=seconds,
        is_first=is_first,
    )


class BatchSignals:
    """
    Sends a processor's signals; those of batches only where there are receivers.

    Args:
        projection_class: The sender.
        application_name: Whose events it processes.

    Attributes:
        reason: Why the events at hand are a batch.
    """

    def __init__(
        self, projection_class: type[Projection[Any]], application_name: str
    ) -> None:
        self._sender = signals.Sender(projection_class, application_name)
        self.reason = ""

    def began(self, events: Sequence[ReceivedEvent]) -> None:
        """Tell that events are about to be processed in one transaction."""
        if self._sender.has_listeners(signals.batch_began):
            self._sender.send(
                signals.batch_began,
                position=events[0].notification.id,
                events=len(events),
                reason=self.reason,
            )

    def committed(
        self,
        position: int | None,
        events: int,
        began: float,
        handling: float,
        committing: float,
        reason: str | None = None,
    ) -> None:
        """
        Tell that a transaction is committed.

        Args:
            position: Where the projection is now.
            events: How many it processed.
            began: When it began, by the monotonic clock.
            handling: When its first event was begun.
            committing: When its last one was processed.
            reason: Why they were a batch; None for that of the events at hand.
        """
        if self._sender.has_listeners(signals.batch_committed):
            ended = monotonic()
            self._sender.send(
                signals.batch_committed,
                position=position,
                events=events,
                seconds=ended - began,
                handler_seconds=committing - handling,
                commit_seconds=ended - committing,
                reason=self.reason if reason is None else reason,
            )

    def undone(self, events: Sequence[ReceivedEvent], error: BaseException) -> None:
        """Tell that a transaction is not committed, and why."""
        if self._sender.has_listeners(signals.batch_undone):
            self._sender.send(
                signals.batch_undone,
                position=events[0].notification.id,
                events=len(events),
                error=error,
            )

    def recovered(self, position: int) -> None:
        """Tell that what was wrong is over."""
        self._sender.send(signals.projection_recovered, position=position)

    def replay_ended(self, position: int) -> None:
        """Tell that no more events are processed once more."""
        self._sender.send(signals.replay_ended, position=position)

    def given_up(
        self,
        action: OnFailure,
        notification: Notification,
        failure: EventError,
        reason: str,
        policy: FailurePolicy,
        *,
        is_first: bool,
    ) -> None:
        """Tell that an event has failed, and is put aside or left out."""
        send_event_failed(self._sender, failure, policy, None, is_first=is_first)
        self._send_event(_GIVEN_UP[action], notification, reason)

    def put_behind(self, notification: Notification) -> None:
        """Tell that an event is put aside, since one of its aggregate's is."""
        self._send_event(signals.event_parked, notification, "")

    def _send_event(
        self, signal: Signal, notification: Notification, reason: str
    ) -> None:
        self._sender.send(
            signal,
            position=notification.id,
            event=describe(notification),
            topic=notification.topic,
            originator_id=notification.originator_id,
            originator_version=notification.originator_version,
            reason=reason,
        )
