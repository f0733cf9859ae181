"""The pictures in the docs are those that a command makes, and small."""

from __future__ import annotations

from tests.support.pictures import FOLDER, PICTURES, ROOT

_MOST_BYTES = 200_000


def test_each_picture_is_made_by_the_command_and_shown_in_the_docs() -> None:
    made = {f"{name}.png" for name in PICTURES}
    docs = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")
    )

    assert {path.name for path in FOLDER.iterdir()} == made
    assert {name for name in made if f"pictures/{name})" not in docs} == set()


def test_pictures_are_small() -> None:
    for path in FOLDER.iterdir():
        assert path.stat().st_size < _MOST_BYTES, path.name
