from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from django_esdb.signals import batch_committed, projection_paused


@receiver([batch_committed, projection_paused])
def note(sender: type[Any], projection: str, **kwargs: Any) -> None:
    """Be called by each signal."""
