from __future__ import annotations

import pytest

from tests.support.building import Built, NoBuildSystemError, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist and the wheel of this checkout."""
    try:
        return build(tmp_path_factory.mktemp("dist"))
    except NoBuildSystemError as error:
        pytest.skip(f"the build system cannot be installed here: {error}")
