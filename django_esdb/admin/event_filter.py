"""What a page of stored events is asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from django_esdb.moments import parse_since

CORRELATION_PREFIX = "$bc-"
# Streams into which EventStoreDB's own projections put links. In others of its own
# are what it knows of its users and what it is configured with.
_LINK_PREFIXES = (CORRELATION_PREFIX, "$ce-", "$et-", "$category-")


class _SinceField(forms.CharField):
    def clean(self, value: Any) -> datetime | None:
        text: str = super().clean(value)
        if not text:
            return None
        try:
            return parse_since(text)
        except ValueError as error:
            raise forms.ValidationError(
                _("This is no time, such as 2026-11-26T09:30, and no time ago, as 2h.")
            ) from error


class EventFilterForm(forms.Form):
    """Which events to show."""

    application = forms.ChoiceField(label=_("Application"))
    stream = forms.CharField(label=_("Aggregate's ID or stream"), required=False)
    # Django's own of this name is for forms next to each other.
    prefix = forms.CharField(  # type: ignore[assignment]
        label=_("Streams that begin with"), required=False
    )
    topic = forms.CharField(label=_("Topic, whole"), required=False)
    since = _SinceField(
        label=_("Since"),
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "2h"}),
    )
    before = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        widget=forms.HiddenInput,
    )

    def __init__(self, data: Any, names: list[str]) -> None:
        super().__init__(data)
        field: Any = self.fields["application"]
        field.choices = [(name, name) for name in names]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("stream") and found.get("prefix"):
            raise forms.ValidationError(
                _("Give a stream, or what streams begin with, not both.")
            )
        if found.get("stream", "").startswith("$") and not is_shown(found["stream"]):
            raise forms.ValidationError(
                _("EventStoreDB's own streams are not shown, but for those of links.")
            )
        return found


def is_shown(stream: str) -> bool:
    """Return whether a stream is none that EventStoreDB keeps for itself."""
    return not stream.startswith("$") or stream.startswith(_LINK_PREFIXES)
