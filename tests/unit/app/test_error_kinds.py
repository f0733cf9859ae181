from __future__ import annotations

from uuid import UUID

import pytest

from django_esdb.models.error_kinds import LONGEST_KIND, error_kind

ID = UUID("7661899a-7326-4da2-8369-e75b1854c6af")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("", ""),
        ("KeyError: 'name'", "KeyError: 'name'"),
        (f"KeyError: '{ID}'", "KeyError: '…'"),
        (f"DoesNotExist: {ID.hex} at 0x7f00ff", "DoesNotExist: … at …"),
        ("ValueError: 1,234.5 is over 10", "ValueError: … is over …"),
        ("E: at 12:30:59", "E: at …"),
        ("42", "…"),
    ],
)
def test_what_differs_from_event_to_event_is_left_out(error: str, kind: str) -> None:
    assert error_kind(error) == kind


def test_a_kind_is_bounded_and_ends_with_no_space() -> None:
    assert len(error_kind("x" * 1000)) == LONGEST_KIND
    assert error_kind("x" * 1000).endswith("x…")
    assert error_kind("gone: ") == "gone:"
    # Nothing but an empty text is no error.
    assert error_kind("  ") == " "
