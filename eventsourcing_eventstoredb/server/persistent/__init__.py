"""
Persistent subscriptions: groups of consumers that share the events of a source.

A group reads its source like any reader, hands each event to one consumer, and keeps
it until the consumer has acknowledged it. How far it has come is written to a stream
of its own, so it resumes there after a restart.
"""

from __future__ import annotations
