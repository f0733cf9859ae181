from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.projects import Project


@pytest.fixture
def projected(project: Project) -> Iterator[Project]:
    """The example project, with its projection running."""
    with project.running("runprojections") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Running")
        yield project
