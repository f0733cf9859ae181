"""``{% load stored_text %}``: filters for text that came from the event store."""

from __future__ import annotations

from django import template

from eventsourcing_eventstoredb import text

register = template.Library()


@register.filter
def isolated(value: object) -> str:
    """Return text that changes the direction of nothing that stands next to it."""
    return text.isolated(str(value))
