"""Pages of stored events in the admin, and what is on them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from eventsourcing.utils import get_topic

from example_project.training_school.domain import Dog

LIST = "/admin/django_esdb/storedevent/"

EVENT = f"{LIST}event/"

CAUSE = f"{LIST}cause/"

TRICK_ADDED = get_topic(Dog.TrickAdded)

HOSTILE = "</pre><script>alert(1)</script>\u202e\"'&{{ x }}"


def cells(text: str) -> list[list[str]]:
    """Return what a list's rows say."""
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2], re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]*>", "", each)) for each in cells_of(row)]
        for row in rows
    ]


def cells_of(row: str) -> list[str]:
    return re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)


def positions(text: str) -> list[int]:
    return [int(row[2]) for row in cells(text)]


def link(text: str, label: str) -> str:
    """Return where a link leads."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(label)}</a>', text)
    assert found, label
    return unescape(found[1])


def said(response: Any) -> str:
    """Return the line that says why nothing is shown."""
    found = re.search(r'role="alert">(.*?)</p>', response.text)
    assert found, response.text
    return unescape(found[1])
