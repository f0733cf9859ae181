"""Topics of events: which may become objects, and under which names."""

from __future__ import annotations

from eventsourcing_eventstoredb.topics.allowlist import AllowlistMapper, TopicAllowlist

__all__ = ["AllowlistMapper", "TopicAllowlist"]
