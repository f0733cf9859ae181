from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.building import Built, NoBuildSystemError, build, built_in


@pytest.fixture(scope="session")
def built(run_folder: Path) -> Built:
    """The sdist and the wheel of this checkout, built once for all workers of a run."""
    folder = run_folder / "dist"
    with FileLock(run_folder / "dist.lock"):
        if (built := built_in(folder)) is not None:
            return built
        # What another one has not built to its end.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            return build(folder)
        except NoBuildSystemError as error:
            pytest.skip(f"the build system cannot be installed here: {error}")
