"""Measuring in a process of its own, on a database of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.support.databases import new_database
from benchmarks.support.processes import example_environment


def measure(module: str, server_url: str, **what: Any) -> dict[str, Any]:
    """
    Run a module of this package with the example's settings.

    Args:
        module: Its name; it gets *what* as JSON, and prints a line of JSON last.
        server_url: Of the database server.
        what: What to measure.

    Returns:
        What it has printed.

    Raises:
        SystemExit: It failed; what it printed about that is shown.
    """
    with new_database(server_url) as url:
        result = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", json.dumps(what)],
            env=example_environment(
                DATABASE_URL=url,
                EVENTSTOREDB_URI="esdb://localhost:2113?Tls=false",
            ),
            stdout=subprocess.PIPE,
            text=True,
        )
    if result.returncode:
        raise SystemExit(
            f"{module} has failed with status {result.returncode}: {json.dumps(what)}"
        )
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured
