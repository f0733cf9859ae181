"""What docs/testing.md shows is run as it stands, in the README's project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import ROOT, clean_environment

BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
APPENDED_TO = "mysite/settings.py"
# Threads cannot wait for each other on a database in memory.
FILE_DATABASE = 'DATABASES["default"]["TEST"] = {"NAME": BASE_DIR / "test.sqlite3"}\n'


def blocks(path: str) -> list[tuple[str, str]]:
    """Return the files that a page shows, by their names."""
    return BLOCK.findall((ROOT / path).read_text(encoding="utf-8"))


def run(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), "."])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The README's project, with the tests of the page."""
    run(tmp_path, "-m", "django", "startproject", "mysite", ".")
    (tmp_path / "school").mkdir()
    (tmp_path / "school" / "__init__.py").touch()
    for name, text in (*blocks("README.md"), *blocks("docs/testing.md")):
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(text)
    with (tmp_path / APPENDED_TO).open("a", encoding="utf-8") as file:
        file.write(FILE_DATABASE)
    return tmp_path


@pytest.mark.slow("makes a project, and runs its tests")
def test_the_tests_of_the_page_pass(project: Path) -> None:
    tests = {name for name, _ in blocks("docs/testing.md")} - {"conftest.py"}

    output = run(project, "-m", "pytest", "-v", "--ds", "mysite.settings", "-n", "0")

    assert all(f"{name}::" in output for name in tests), output
    # Django's own runner takes those that are test cases.
    assert "OK" in run(project, "manage.py", "test", "--verbosity", "2")
