"""What pages show of payloads, and to whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_esdb.status.status import shown

if TYPE_CHECKING:
    from django_esdb.events.stored_events import Payload

_MARKS = {"compressed": _("compressed"), "encrypted": _("encrypted")}


def may_read_payloads(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("django_esdb.view_payload"))


def payload_context(payload: Payload, size: int) -> dict[str, Any]:
    """
    Return what the template of a payload needs.

    Args:
        payload: What may be shown.
        size: How many bytes are stored.
    """
    return {
        "size": size,
        "payload": "" if payload.problem else _pretty(payload.value),
        "problem_of_payload": shown(payload.problem),
        "marks": [_MARKS[mark] for mark in payload.marks],
    }


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except RecursionError:
        # Laying it out takes more of the stack.
        return json.dumps(value, ensure_ascii=False)
