from __future__ import annotations

import pytest
from eventsourcing.persistence import Notification
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.text import (
    DIRECTION_CHARACTERS,
    LONGEST_LINE,
    LONGEST_NAME,
    closed,
    describe,
    isolated,
    named_line,
    one_line,
    quoted,
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


class UnspeakableExitError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize("kind", [UnspeakableError, UnspeakableExitError])
def test_an_error_without_a_text_is_reported_by_its_class(
    kind: type[Exception],
) -> None:
    assert one_line(kind()) == named_line(kind()) == kind.__name__


def test_a_long_name_is_cut() -> None:
    kind = type("E" * 100_000, (Exception,), {})

    assert len(named_line(kind("text"))) < 2 * LONGEST_NAME
    assert len(one_line(kind())) <= LONGEST_LINE


def test_an_empty_text_stays_empty() -> None:
    assert one_line("") == one_line(" \n ") == ""


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rex", "Rex"),
        ("Zoë 犬 🐕", "Zoë 犬 🐕"),
        ("a\u202eb", "\u2068a\u202eb\u202c\u2069"),
        ("a\u2069b\u202cc", "\u2068abc\u2069"),
        ("\u2067a\u202eb\u2069c", "\u2068\u2067a\u202eb\u202c\u2069c\u2069"),
        ("\u202ea\u2069b", "\u2068\u202eab\u202c\u2069"),
        ("Rex\u200f", "\u2068Rex\u200f\u2069"),
        ("שלום", "\u2068שלום\u2069"),
    ],
)
def test_text_is_isolated_where_it_has_a_direction(text: str, expected: str) -> None:
    assert isolated(text) == expected


@given(st.text(alphabet=DIRECTION_CHARACTERS + "aא"))
def test_no_text_leaves_or_ends_a_direction(text: str) -> None:
    kept = closed(text)
    opened: list[str] = []
    for char in kept:
        if char in "\u202a\u202b\u202d\u202e":
            opened.append("\u202c")
        elif char in "\u2066\u2067\u2068":
            opened.append("\u2069")
        elif char in "\u202c\u2069":
            assert opened.pop() == char
    assert opened == []
    assert [c for c in kept if c in "aא"] == [c for c in text if c in "aא"]
    assert closed(kept) == kept
