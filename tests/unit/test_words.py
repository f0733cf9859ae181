"""The project's texts say who does something, in plain technical English."""

from __future__ import annotations

import re

import pytest

from tests.support.building import tracked
from tests.support.projects import ROOT

# What to write in place of words, with a pattern of all their forms.
WORDS = {
    "whoever": (r"\bwhoever\b", "who it is: «another process», «a user»"),
    "nobody": (r"\bnobody\b", "who it is: «no other process»"),
    "somebody": (r"\bsomebody\b", "who it is: «another process», «a user»"),
    "goes on": (r"\bgoes on\b", "«continues», or «recovers» after an outage"),
    "mend": (r"\bmend(?:s|ed|ing)?\b", "«fix»"),
    "in vain": (r"\bin vain\b", "«failed attempts»"),
    "anew": (r"\bbeg[aiu]n(?:s|ning)? anew\b", "«restart»"),
    "in good order": (r"\bin good order\b", "«clean shutdown»"),
    "without a word": (
        r"\bended without a word\b",
        "«exited without releasing its lease»",
    ),
}
# A user of operating systems.
_NAMES = re.compile("USER nobody|//nobody@")
_READ = (".py", ".md", ".html", ".txt", ".toml", ".yml", ".json", ".js", "Makefile")


def found(text: str) -> list[str]:
    """Return what is to be put in other words, with the number of its line."""
    text = _NAMES.sub("", text).lower()
    return [
        f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]}: rather {instead}"
        for word, (pattern, instead) in WORDS.items()
        # Patterns take their time, and most texts have none of these.
        if word in text
        for match in re.finditer(pattern, text)
    ]


def test_sentences_have_subjects_and_terms_of_the_field() -> None:
    names = [name for name in tracked() if name.endswith(_READ)]
    if not names:
        pytest.skip("an archive of the code has no list of its files")

    assert {
        name: lines
        for name in names
        if ROOT / name != ROOT / "tests/unit/test_words.py"
        and (lines := found((ROOT / name).read_text(encoding="utf-8")))
    } == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Somebody has asked", 1),
        ("It goes on.\nIt was mended in vain.", 3),
        ("Begun anew", 1),
        ("USER nobody", 0),
        ("It continues.", 0),
    ],
)
def test_such_words_are_found(text: str, count: int) -> None:
    assert len(found(text)) == count
