"""
Build what is published of a version, and test that and nothing else.

``make release-check`` runs it on a clean checkout. It leaves the sdist and the wheel in
``dist/``, looks at their metadata as the package index does, and runs the sdist's tests
with the installed wheel on each supported Python that is there: of these what depends
on versions, on SQLite and without slow tests.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tests.support.building import Built, NoBuildSystemError, build, pyproject
from tests.support.environments import Environment, variables
from tests.support.pairs import find_pythons
from tests.support.projects import ROOT

DIST = ROOT / "dist"
TESTS = (
    "tests/unit",
    "tests/integration/persistence",
    "tests/integration/testing",
    "tests/acceptance/app",
)
QUICK_TESTS = ("tests/unit", "tests/integration/testing")


class ReleaseError(Exception):
    """What was built, or is to be built, cannot be published."""


def supported() -> list[str]:
    """Return the versions of Python that the metadata name, such as ``3.13``."""
    classifiers = "\n".join(pyproject()["project"]["classifiers"])
    return re.findall(r"Python :: (\d\.\d+)", classifiers)


def refuse_changes(folder: Path) -> None:
    """
    See that a checkout is as it was committed.

    Raises:
        ReleaseError: It is not, so that the same cannot be built again.
    """
    status = ["git", "status", "--porcelain"]
    changed = subprocess.run(status, cwd=folder, capture_output=True, text=True).stdout
    if changed:
        names = ", ".join(line[3:] for line in changed.splitlines())
        msg = f"commit first: {names}"
        raise ReleaseError(msg)


def missing_notes(changelog: str, version: str) -> str:
    """Return what has to be written to CHANGELOG.md, or an empty text."""
    if re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M
    ):
        return ""
    return f"CHANGELOG.md has no section «## [{version}] - YYYY-MM-DD» yet"


def publishable(folder: Path) -> Built:
    """
    Build what is published into a folder, which is emptied first.

    Raises:
        ReleaseError: It cannot be built.
    """
    with tempfile.TemporaryDirectory() as work:
        try:
            built = build(Path(work))
        except (NoBuildSystemError, subprocess.CalledProcessError) as error:
            msg = f"nothing could be built: {error}"
            raise ReleaseError(msg) from None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Built(
            *(Path(shutil.copy(path, folder)) for path in (built.sdist, built.wheel))
        )


def check_metadata(built: Built, folder: Path) -> None:
    """
    Look at the metadata, and render the README, as the package index does.

    Raises:
        ReleaseError: The index would refuse it, or show the README as plain text.
    """
    environment = Environment(folder)
    environment.install(*pyproject()["dependency-groups"]["release"])
    files = [str(built.sdist), str(built.wheel)]
    checked = environment.try_to_run("-m", "twine", "check", "--strict", *files)
    print(checked.stdout, end="", flush=True)  # noqa: T201
    if checked.returncode:
        raise ReleaseError(checked.stderr or "twine is not content")


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack the source into a folder; return its root."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def run_tests(base: str, built: Built, folder: Path, tests: Sequence[str]) -> int:
    """
    Run the sdist's tests with the wheel; return pytest's status.

    Args:
        base: The interpreter.
        built: The sdist and the wheel.
        folder: An empty one, for the environment and the source.
        tests: What is passed on to pytest.
    """
    environment = Environment(folder / "environment", base)
    environment.install(str(built.wheel), *pyproject()["dependency-groups"]["dev"])
    source = unpack(built.sdist, folder / "source")
    # Behind the installed packages, of which the source has a copy.
    purelib = environment.run(
        "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    )
    Path(purelib.strip(), "source.pth").write_text(f"{source}\n", encoding="utf-8")
    command = [
        *(str(environment.python), "-m", "pytest", "-q", "-n", "4", "-m", "not slow"),
        # Neither of these comes before what is installed then.
        *("--import-mode=append", "-o", "django_find_project=false"),
        *("-p", "tests.support.installed", *tests),
    ]
    return subprocess.run(
        command,
        cwd=source,
        # The folder that a process is started in is not searched for modules.
        env={**variables(), "PYTHONSAFEPATH": "1"},
    ).returncode


def check(built: Built, pythons: Iterable[str], tests: Sequence[str]) -> None:
    """
    Check what was built.

    Raises:
        ReleaseError: It is not to be published.
    """
    with tempfile.TemporaryDirectory() as work:
        check_metadata(built, Path(work, "tools"))
        for number, python in enumerate(pythons):
            print(f"=== {python}", flush=True)  # noqa: T201
            status = run_tests(python, built, Path(work, f"python-{number}"), tests)
            if status:
                msg = f"tests have failed with {python}"
                raise ReleaseError(msg)


def summary(built: Built, pythons: Collection[str]) -> str:
    """Return what was checked, and what is left to do before it is published."""
    project = pyproject()["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    untested = [each for each in supported() if each not in pythons]
    lines = [
        f"Checked with Python {', '.join(pythons)}: {built.sdist} and {built.wheel}",
        f"Not with Python {', '.join(untested)}" if untested else "",
        f"Their home is {project['urls']['Homepage']}",
        missing_notes(changelog, project["version"]),
    ]
    return "\n".join(filter(None, lines))


def main() -> int:
    """Build and check; return 1 if it is not to be published."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.release", description=__doc__
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="only with the Python that runs this, and few tests",
    )
    parser.add_argument("tests", nargs="*", help="what to run in place of these")
    options = parser.parse_args()
    own = "{}.{}".format(*sys.version_info)
    pythons = {own: sys.executable} if options.quick else find_pythons(supported())
    try:
        refuse_changes(ROOT)
        built = publishable(DIST)
        tests = options.tests or (QUICK_TESTS if options.quick else TESTS)
        check(built, pythons.values(), tests)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(summary(built, pythons))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
