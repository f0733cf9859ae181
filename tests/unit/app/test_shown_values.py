"""Values of rows, as JSON and people can read them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from django_esdb.debugging.values import plain
from django_esdb.debugging.watch import are_alike
from django_esdb.masking import STARS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        (float("nan"), "nan"),
        ("text", "text"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
        (date(2020, 1, 2), "2020-01-02"),
        (b"\x00\xff", "00ff"),
        ({"a": [1, {"b": Decimal(2)}]}, {"a": [1, {"b": "2"}]}),
        ("esdb://me:word@host", f"esdb://{STARS}@host"),
        (
            {"password": "x", "a": {"api_key": 1}},
            {"password": STARS, "a": {"api_key": STARS}},
        ),
    ],
)
def test_values_are_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("password", True),
        ("user_password_hash", True),
        ("access_token", True),
        ("api_key", True),
        ("apikey", True),
        ("SECRET", True),
        ("author", False),
        ("key", False),
        ("passenger", False),
        ("monkey", False),
        ("tokens_used", False),
    ],
)
def test_names_tell_what_is_secret(name: str, is_secret: bool) -> None:
    assert plain("value", name) == (STARS if is_secret else "value")
    assert plain(None, name) is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": [1]}, {"a": [1.0]}, False),
        ({"a": 1}, None, False),
        (float("nan"), float("nan"), True),
        (memoryview(b"a"), memoryview(b"a"), True),
        ([1, 2], [1], False),
    ],
)
def test_what_databases_tell_apart_is_not_alike(
    before: Any, after: Any, expected: bool
) -> None:
    assert are_alike(before, after) is expected
