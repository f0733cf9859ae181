"""What happens to projections, as a command that runs them prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.color import Style
from django.dispatch import Signal

from django_esdb import signals
from django_esdb.exceptions import EventError, ProjectionError
from django_esdb.management.progress import Shown
from django_esdb.registry import Registration


class Told:
    """
    Prints what happens to projections.

    Args:
        shown: Writes the lines.
        style: The command's.
    """

    def __init__(self, shown: Shown, style: Style) -> None:
        self._shown = shown
        self._style = style

    @contextmanager
    def of(self, registrations: Sequence[Registration]) -> Iterator[None]:
        """Print what happens to these projections while the block runs."""
        receivers: list[tuple[Signal, Callable[..., None]]] = [
            (signals.projection_started, self._started),
            (signals.standing_by, self._standing_by),
            (signals.projection_paused, self._paused),
        ]
        if len(registrations) > 1:
            # Of a single one it is the command's error.
            receivers.append((signals.projection_failed, self._failed))
        senders = [registration.projection_class for registration in registrations]
        for signal, receiver in receivers:
            for sender in senders:
                signal.connect(receiver, sender=sender)
        try:
            yield
        finally:
            for signal, receiver in receivers:
                for sender in senders:
                    signal.disconnect(receiver, sender=sender)

    def _started(
        self, *, projection: str, application: str, position: int | None, **kwargs: Any
    ) -> None:
        where = "the beginning" if position is None else f"position {position}"
        self._shown.say(f"Running {projection} on {application} from {where}")

    def _standing_by(
        self,
        *,
        projection: str,
        owner: str,
        reason: str,
        is_paused: bool,
        **kwargs: Any,
    ) -> None:
        if owner:
            self._shown.say(f"Standing by for {projection}, which {owner} runs")
        elif not is_paused:
            self._shown.say(f"Standing by with {projection}: {reason}")

    def _paused(self, *, projection: str, error: EventError, **kwargs: Any) -> None:
        self._complain(
            f"{error}. It is paused: fix the cause, then start again or run "
            f"manage.py retryfailedevents {projection}"
        )

    def _failed(self, *, error: ProjectionError, **kwargs: Any) -> None:
        self._complain(str(error))

    def _complain(self, line: str) -> None:
        self._shown.complain(self._style.ERROR(line))
