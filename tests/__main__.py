"""
Run the whole suite: on SQLite, and what uses a database on each other one.

Arguments are passed on to pytest. ``REQUIRE_DATABASES`` may name databases,
separated by commas, without which the run counts as failed.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.databases import SERVERS, SQLITE_URL, find


def main() -> int:
    """Run and print which databases it ran on; return the worst exit status."""
    arguments = sys.argv[1:]
    found = [find(server) for server in SERVERS]
    lines = []
    worst = 0
    missing = _required()
    for name, url, report, selection in [
        ("SQLite", SQLITE_URL, "", ()),
        *((f.name, f.url, f.report, ("-m", "database")) for f in found),
    ]:
        if not url:
            lines.append(f"{name}: not run, {report}")
            continue
        print(f"\n=== Tests on {name} {report}\n", flush=True)  # noqa: T201
        status = subprocess.run(
            [sys.executable, "-m", "pytest", *selection, *arguments],
            env={**os.environ, "DATABASE_URL": url},
        ).returncode
        # 5: the arguments selected no test that uses a database.
        if status != 5:
            worst = worst or status
            missing.discard(name.casefold())
        lines.append(f"{name}: {'passed' if status in (0, 5) else 'FAILED'} {report}")
    print("\n=== Databases")  # noqa: T201
    print("\n".join(line.rstrip() for line in lines), flush=True)  # noqa: T201
    if missing:
        print(f"Required but not run: {', '.join(sorted(missing))}")  # noqa: T201
    return worst or int(bool(missing))


def _required() -> set[str]:
    """Return the databases that have to be there, in lower case."""
    names = os.environ.get("REQUIRE_DATABASES", "").split(",")
    return {name.strip().casefold() for name in names if name.strip()}


if __name__ == "__main__":
    sys.exit(main())
