from __future__ import annotations

import pytest
from eventsourcing.persistence import Notification
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.text import (
    LONGEST_LINE,
    LONGEST_NAME,
    describe,
    one_line,
    quoted,
    safe_text,
    storable,
)

ANY_TEXT = st.text(alphabet=st.characters(), max_size=300)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\n\tand more ", "two lines and more"),
        ("\x1b[31mred\x00\x07", r"\x1b[31mred\x00\x07"),
        ("a\u202eb\u2066c\u200b", r"a\u202eb\u2066c\u200b"),
        ("half \ud83d", r"half \ud83d"),
        ("Ünïcode 犬 🐕", "Ünïcode 犬 🐕"),
        ("", "ValueError"),
        (" \n ", "ValueError"),
    ],
    ids=["breaks", "escapes", "bidi", "surrogate", "unicode", "empty", "blank"],
)
def test_an_error_is_one_line_in_which_all_can_be_seen(text: str, line: str) -> None:
    assert one_line(ValueError(text)) == line


def test_an_error_without_a_text_is_reported_by_its_class() -> None:
    assert one_line(UnspeakableError()) == "UnspeakableError"


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    line = one_line(ValueError(f"begin {'x' * 10_000_000} end"))

    assert len(line) == LONGEST_LINE
    assert line.startswith("begin ")
    assert line.endswith(" end")
    assert " [...] " in line


@given(ANY_TEXT)
def test_any_text_is_one_line_that_can_be_encoded(text: str) -> None:
    for line in (one_line(ValueError(text)), quoted(text)):
        assert line.isprintable()
        line.encode("utf-8")
        assert len(line) <= LONGEST_LINE


@given(ANY_TEXT)
def test_any_text_of_lines_is_safe_and_keeps_its_lines(text: str) -> None:
    shown = safe_text(text)

    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert shown.count("\n") == text.count("\n")


def test_lines_and_tabs_of_a_traceback_stay() -> None:
    assert safe_text("one\r\n\ttwo\x1b\x00\rthree") == "one\n\ttwo\\x1b\\x00\\rthree"
    assert len(safe_text("x\n" * 100_000, limit=500)) == 500


@given(ANY_TEXT)
def test_storable_text_has_no_nul_and_can_be_encoded(text: str) -> None:
    kept = storable(text)

    kept.encode("utf-8")
    assert "\0" not in kept
    assert len(kept) == len(text)
    if "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        assert kept == text


def test_an_event_is_described_in_a_line_of_bounded_length() -> None:
    hostile = "a'\n\x1b[2J\u202e" * 10_000
    described = describe(Notification(hostile, 3, hostile, b"secret", 7))

    assert described.isprintable()
    assert len(described) < 2 * LONGEST_NAME + 100
    assert described.endswith("version 3, position 7")
    assert "secret" not in described
