"""
Whether nothing lies at the root of the repository that does not belong there.

``make lint`` runs it: what tests and tools leave behind is not to be committed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

BELONG = frozenset(
    [
        ".ci",
        ".env.example",
        ".github",
        ".gitignore",
        ".pre-commit-config.yaml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks",
        "django_esdb",
        "docs",
        "eventsourcing_eventstoredb",
        "example_project",
        "manage.py",
        "pyproject.toml",
        "requirements",
        "tests",
        "tox.ini",
    ]
)


def strangers(paths: Iterable[str]) -> list[str]:
    """Return, in order, the first parts of paths that do not belong at the root."""
    return sorted({path.partition("/")[0] for path in paths} - BELONG)


def main(folder: Path) -> str:
    """Return what is wrong with what is tracked in a folder, or an empty text."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=folder, capture_output=True, text=True
    )
    if tracked.returncode:
        # An archive of the code has nothing that could be committed.
        return ""
    found = strangers(filter(None, tracked.stdout.split("\0")))
    if not found:
        return ""
    return (
        f"tracked at the root, but not listed in {Path(__file__).name}: "
        f"{', '.join(found)}. Remove it with «git rm», or list it."
    )


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[2]) or 0)
