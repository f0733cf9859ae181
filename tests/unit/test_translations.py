"""The German and French translations are whole, and compiled as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.catalogs import Entry, compiled, entries, texts_of_code
from tests.support.projects import ROOT

FILES = [
    ROOT / folder / "locale" / language / "LC_MESSAGES" / "django.po"
    for folder in ("django_esdb", "example_project")
    for language in ("de", "fr")
]
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")

each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parts[-5]}-{path.parts[-3]}"
)


def translated(path: Path) -> list[Entry]:
    return [entry for entry in entries(path) if entry.id]


@each_file
def test_each_text_that_the_code_marks_is_there_and_no_other(path: Path) -> None:
    marked = texts_of_code(path.parents[3])

    assert {entry.id for entry in translated(path)} == marked


@each_file
def test_nothing_is_left_untranslated_or_fuzzy(path: Path) -> None:
    for entry in translated(path):
        assert all(entry.texts), entry.id
        assert not entry.is_fuzzy, entry.id
        assert len(entry.texts) == (2 if "\0" in entry.id else 1), entry.id


@each_file
def test_what_is_filled_in_is_the_same(path: Path) -> None:
    for entry in translated(path):
        expected = set(_PLACEHOLDER.findall(entry.id))
        for text in entry.texts:
            assert set(_PLACEHOLDER.findall(text)) == expected, entry.id


@each_file
def test_compiled_files_have_what_the_sources_have(path: Path) -> None:
    expected = {entry.id: entry.texts for entry in entries(path)}

    found = compiled(path.with_suffix(".mo"))

    assert found.pop("")
    expected.pop("")
    assert found == expected
