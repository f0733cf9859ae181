"""The tutorial is followed as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docs.blocks import DOCS, blocks_of
from tests.support.docs.following import follower


@pytest.mark.slow("makes a project, and runs all that the tutorial says")
def test_the_tutorial_leads_to_a_project_that_works(tmp_path: Path) -> None:
    printed = {}
    with follower(tmp_path) as reader:
        for block in blocks_of(DOCS / "tutorial.md"):
            reader.follow(block)
            printed[block.text.splitlines()[0]] = reader.printed
        status = reader.run("manage.py", "showprojections")

    assert "Ran 1 test" in printed["$ python manage.py test"]
    assert "Dog.TrickAdded" in printed["$ python manage.py showprojections"]
    assert "SchoolProjection" in status
    assert "running" in status
