from __future__ import annotations

from typing import Any

import pytest

from django_esdb.checks.payload_redaction import check_payload_redaction

NO_FUNCTION = 7


def redact(topic: str, payload: Any) -> Any:
    return payload


async def redact_later(topic: str, payload: Any) -> Any:
    return payload


def test_no_function_and_one_that_can_be_called_are_fine(settings: Any) -> None:
    assert not list(check_payload_redaction())
    settings.ESDB_PAYLOAD_REDACTION = f"{__name__}.redact"
    assert not list(check_payload_redaction())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no.such.function", "'no.such.function' cannot be imported: ModuleNotFound"),
        ("redact", "'redact' cannot be imported: ValueError"),
        (7, "it must be a text, but is of type int"),
        (f"{__name__}.NO_FUNCTION", "is no function"),
        (f"{__name__}.redact_later", "is async def"),
    ],
)
def test_others_are_reported(settings: Any, name: Any, reason: str) -> None:
    settings.ESDB_PAYLOAD_REDACTION = name

    (message,) = check_payload_redaction()

    assert message.id == "django_esdb.E032"
    assert message.msg.startswith("ESDB_PAYLOAD_REDACTION cannot be used: ")
    assert reason in message.msg
