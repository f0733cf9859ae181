"""
Run the whole suite: on SQLite, and what uses a database on each other one.

Arguments are passed on to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.databases import SERVERS, SQLITE_URL, find


def main() -> int:
    """Run and print which databases it ran on; return the worst exit status."""
    arguments = sys.argv[1:]
    found = [find(server) for server in SERVERS]
    lines = []
    worst = 0
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
        worst = worst or (status if status != 5 else 0)
        lines.append(f"{name}: {'passed' if status in (0, 5) else 'FAILED'} {report}")
    print("\n=== Databases")  # noqa: T201
    print("\n".join(line.rstrip() for line in lines), flush=True)  # noqa: T201
    return worst


if __name__ == "__main__":
    sys.exit(main())
