"""Topics of events: which are allowed, which are old, which a projection gets."""

from __future__ import annotations

from django_esdb.topics.allowlist import guard_application, with_allowlist

__all__ = ["guard_application", "with_allowlist"]
