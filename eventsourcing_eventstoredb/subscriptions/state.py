"""How a subscription is doing, for status pages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum


class Phase(StrEnum):
    """What a subscription is at."""

    CONNECTING = "connecting"
    CATCHING_UP = "catching up"
    LIVE = "live"
    DISCONNECTED = "disconnected"
    STANDING_BY = "standing by"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_interrupted(self) -> bool:
        """Whether it has begun, and receives nothing until it can resume."""
        return self in (Phase.DISCONNECTED, Phase.STANDING_BY)

    @property
    def is_receiving(self) -> bool:
        """Whether the event store sends."""
        return self in (Phase.CATCHING_UP, Phase.LIVE)


@dataclass(frozen=True)
class SubscriptionState:
    """
    What a subscription is at, and since when.

    Attributes:
        phase: What it is at.
        since: Since when, in UTC.
        problem: While it is interrupted or failed: why, without credentials.
        attempts: While it is interrupted: how often it tried to resume.
        resumptions: How often it has resumed after it was interrupted.
    """

    phase: Phase
    since: datetime
    problem: str = ""
    attempts: int = 0
    resumptions: int = 0

    def __str__(self) -> str:
        text = str(self.phase)
        if self.phase.is_interrupted or self.phase is Phase.FAILED:
            text += f" since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.problem}"
        return text


class StateCell:
    """Holds the latest state; written by several threads, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = SubscriptionState(Phase.CONNECTING, datetime.now(UTC))

    @property
    def state(self) -> SubscriptionState:
        """The latest state."""
        return self._state

    def enter(self, phase: Phase, problem: str = "") -> None:
        """Change to *phase*, unless the subscription has ended."""
        with self._lock:
            old = self._state
            if old.phase in (Phase.STOPPED, Phase.FAILED):
                return
            if phase.is_interrupted and old.phase.is_interrupted:
                # Still the same outage.
                self._state = replace(
                    old, phase=phase, problem=problem, attempts=old.attempts + 1
                )
            elif phase is not old.phase:
                has_resumed = old.phase.is_interrupted and phase.is_receiving
                self._state = SubscriptionState(
                    phase,
                    datetime.now(UTC),
                    problem,
                    resumptions=old.resumptions + has_resumed,
                )
