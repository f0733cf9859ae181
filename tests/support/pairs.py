"""
Run tests with other versions of Python, Django and what else ``tox.ini`` pairs.

All tests with each pair would take hours, which is what ``tox run`` is for. This picks
pairs so that each version whose Python is there is in one of them, leaves out what this
environment has, and runs what depends on versions: on SQLite, without slow tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import django

ROOT = Path(__file__).parents[2]
TOX = Path(sys.executable).with_name("tox")

_PYTHON = re.compile(r"py(\d)(\d+)")


def pick(environments: Sequence[str], covered: Iterable[str]) -> list[str]:
    """
    Return environments that have each factor at least once, in the order of picking.

    Args:
        environments: Names of factors with hyphens between.
        covered: Factors that need no environment.
    """
    picked = []
    left = {f for name in environments for f in name.split("-")} - set(covered)
    while left:
        best = max(environments, key=lambda name: len(left & set(name.split("-"))))
        picked.append(best)
        left -= set(best.split("-"))
    return picked


def python_of(environment: str) -> str:
    """Return the version of Python that an environment has, such as ``3.13``."""
    match = _PYTHON.match(environment)
    assert match, environment
    return ".".join(match.groups())


def find_pythons(versions: Iterable[str]) -> dict[str, str]:
    """Return the interpreters that run and can make environments, by their version."""
    found = {}
    for version in versions:
        name = f"python{version}"
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        candidates = [
            shutil.which(name),
            *sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/{name}"))),
        ]
        for candidate in filter(None, candidates):
            # What pyenv has on the path may be of a version that is not selected.
            code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
            said = subprocess.run(
                [candidate, "-c", code], capture_output=True, text=True
            ).stdout
            if said.strip() == version:
                found[version] = candidate
                break
    return found


def own_factors() -> set[str]:
    """Return the factors of the environment that this runs in."""
    python = "".join(map(str, sys.version_info[:2]))
    return {f"py{python}", "django{}{}".format(*django.VERSION[:2])}


def plan(
    environments: Sequence[str], pythons: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the environments to run, and those whose Python is not there."""
    here = [name for name in environments if python_of(name) in pythons]
    missing = [name for name in environments if name not in here]
    return [f"{name}-quick" for name in pick(here, own_factors())], missing


def main() -> int:
    """Run them, and say which were not; return tox's status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.pairs", description=__doc__
    )
    parser.add_argument(
        "--list", action="store_true", help="only say which it would be"
    )
    options = parser.parse_args()
    listed = subprocess.check_output([TOX, "list", "--no-desc"], cwd=ROOT, text=True)
    environments = [name for name in listed.split() if _PYTHON.match(name)]
    pythons = find_pythons(sorted({python_of(name) for name in environments}))
    names, missing = plan(environments, pythons)
    for name in missing:
        print(f"{name}: not run, there is no Python {python_of(name)}")  # noqa: T201
    print(f"Pairs to run: {', '.join(names) or 'none'}", flush=True)  # noqa: T201
    if options.list or not names:
        return 0
    # One installs packages while another one waits for its tests.
    side_by_side = ["run-parallel", "--parallel", "2", "--parallel-no-spinner"]
    which = ["--discover", *pythons.values(), "-e", ",".join(names)]
    return subprocess.run([TOX, *side_by_side, *which], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
