"""Telling what happens to a projection, and what is news about it."""

from __future__ import annotations

from collections.abc import Mapping

from django_esdb import signals
from django_esdb.exceptions import (
    EventError,
    LeaseHeldError,
    LeaseLostError,
    ProjectionError,
    ProjectionPausedError,
)
from django_esdb.leases.lease import Lease
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.registry import Registration
from django_esdb.runner.batches.batch_signals import send_event_failed


class Reporter:
    """
    Sends a projection's signals for its supervisor; used in the supervisor's thread.

    Args:
        registration: The projection.
    """

    def __init__(self, registration: Registration) -> None:
        self._signals = signals.Sender(
            registration.projection_class, registration.application_name
        )
        self._last_wait: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it was told that the projection stands by."""
        return self._last_wait is not None

    def waits_no_more(self) -> None:
        """Have the next wait be told of as a new one."""
        self._last_wait = None

    def started(self, position: int | None) -> None:
        """Tell from where the projection runs here."""
        self._signals.send(signals.projection_started, position=position)

    def standing_by(self, error: Exception) -> None:
        """Tell why it waits, if it was not told before."""
        is_held = isinstance(error, LeaseHeldError)
        owner = getattr(error, "owner", "")
        if is_held and not owner:
            # Who has just become the owner is not committed yet: the next look tells.
            return
        is_paused = isinstance(error, ProjectionPausedError)
        if self._is_news(type(error).__name__):
            self._signals.send(
                signals.standing_by,
                owner=owner,
                reason="" if is_held else str(error),
                is_paused=is_paused,
            )

    def interrupted(
        self, error: Exception, phase: str, seconds: float, *, is_first: bool = False
    ) -> None:
        """Tell what is away, and when it is tried again."""
        if phase == "standing by":
            is_first = self._is_news(phase)
        self._signals.send(
            signals.projection_interrupted,
            error=error,
            phase=phase,
            seconds=seconds,
            is_first=is_first,
        )

    def event_failed(
        self,
        error: EventError,
        policy: FailurePolicy,
        seconds: float | None,
        *,
        is_first: bool,
    ) -> None:
        """Tell that an event has failed, and when it is tried again, if at all."""
        send_event_failed(self._signals, error, policy, seconds, is_first=is_first)

    def paused(self, error: EventError) -> None:
        """Tell at which event it waits until a retry is asked for."""
        self._signals.send(
            signals.projection_paused, position=error.position, error=error
        )

    def recovered(self) -> None:
        """Tell that it works again, though nothing was processed since."""
        self._signals.send(signals.projection_recovered, position=None)

    def resumed(self, times: int) -> None:
        """Tell that the event store sends again, and how often it has begun to."""
        self._signals.send(signals.subscription_resumed, times=times)

    def rebuild_began(self, until: int | None, rows: Mapping[str, int]) -> None:
        """Tell that all that it has made is deleted, and that it starts over."""
        self._signals.send(signals.rebuild_began, until=until, rows=dict(rows))

    def lease_acquired(self, lease: Lease) -> None:
        """Tell that this process runs the projection from now on."""
        self._signals.send(
            signals.lease_acquired, owner=lease.owner, was_abandoned=lease.was_abandoned
        )

    def lease_released(self, state: ProjectionState) -> None:
        """Tell that any process may run it."""
        self._signals.send(signals.lease_released, state=str(state))

    def lease_lost(self, error: LeaseLostError) -> None:
        """Tell that another process has taken over."""
        self._signals.send(signals.lease_lost, error=error)

    def stopped(self, position: int | None) -> None:
        """Tell that it has ended as it was asked to."""
        self._signals.send(signals.projection_stopped, position=position)

    def failed(self, error: ProjectionError) -> None:
        """Tell why it has ended."""
        self._signals.send(signals.projection_failed, error=error)

    def _is_news(self, wait: str) -> bool:
        before, self._last_wait = self._last_wait, wait
        return before != wait
