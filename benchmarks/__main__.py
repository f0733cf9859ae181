"""Run every benchmark in turn; see each one's own page of help for options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run them in processes of their own; return the worst exit status."""
    worst = 0
    for file in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"\n=== {file.stem}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{file.stem}"]
        worst = max(worst, subprocess.run(command).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
