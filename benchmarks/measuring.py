"""Measuring in a process of its own, on a database of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.databases import new_database
from tests.support.projects import clean_environment


def measure(module: str, server_url: str, **what: Any) -> dict[str, Any]:
    """
    Run a module of this package with the example's settings.

    Args:
        module: Its name; it gets *what* as JSON, and prints a line of JSON last.
        server_url: Of the database server.
        what: What to measure.

    Returns:
        What it has printed.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        new_database(server_url, Path(folder)) as url,
    ):
        result = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", json.dumps(what)],
            env={
                **clean_environment(),
                "DJANGO_SETTINGS_MODULE": "example_project.settings",
                "DATABASE_URL": url,
                "EVENTSTOREDB_URI": "esdb://localhost:2113?Tls=false",
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured
