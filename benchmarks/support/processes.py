"""The example project's commands as processes, and what they use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def example_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment, with the example as these variables say."""
    others = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DJANGO_", "EVENTSTOREDB_", "DATABASE_", "ESDB_"))
    }
    settings = {"DJANGO_SETTINGS_MODULE": "example_project.settings"}
    return {**others, **settings, **variables}


@contextmanager
def runprojections(env: dict[str, str]) -> Iterator[int]:
    """Run the example's projections until the block ends; yield their process ID."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "runprojections"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Running")
            yield process.pid
            assert process.poll() is None, "it has ended"
        finally:
            process.kill()


def footprint(process_id: int) -> dict[str, int]:
    """Return a process's threads, descriptors and ``memory_kb`` (Linux only)."""
    folder = Path(f"/proc/{process_id}")
    pages = int((folder / "statm").read_text().split()[1])
    return {
        "threads": len(list((folder / "task").iterdir())),
        "descriptors": len(list((folder / "fd").iterdir())),
        "memory_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }
