"""What a projection's handlers do for the first time only: effects, and no replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventsourcing.projection import Projection

from django_esdb.exceptions import ConfigurationError


def give_projections_effects() -> None:
    """
    Have projections' handlers ask ``self.is_replay`` and call ``self.on_live(...)``.

    Both are the view's; see :class:`~django_esdb.recorders.DjangoTrackingRecorder`. A
    class that has something of its own by such a name keeps it. Idempotent.
    """
    if not hasattr(Projection, "is_replay"):
        Projection.is_replay = property(_is_replay)  # type: ignore[attr-defined]
    if not hasattr(Projection, "on_live"):
        Projection.on_live = _on_live  # type: ignore[attr-defined]


def _is_replay(self: Projection[Any]) -> bool:
    return bool(getattr(self.view, "is_replay", False))


def _on_live(self: Projection[Any], effect: Callable[[], Any]) -> None:
    register = getattr(self.view, "on_live", None)
    if register is None:
        msg = (
            f"{type(self).__name__}.on_live() needs a view that is derived from "
            f"DjangoTrackingRecorder; {type(self.view).__name__} is not"
        )
        raise ConfigurationError(msg)
    register(effect)
