"""
axe-core, which finds what keeps people from using a page.

It is no part of the project: npm fetches it when a test first needs it, and it is kept
among the temporary files. It is the version that is named here, or none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support.browsers import Browser

VERSION = "4.14.1"
# Of axe.min.js, by which a copy that is kept is known to be it.
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_SECONDS = 120
# The levels A and AA of WCAG, contrast among them, and what else is good practice.
_RUN = """
const done = arguments[arguments.length - 1];
const options = {resultTypes: ["violations"]};
if (arguments[0]) options.runOnly = {type: "rule", values: arguments[0]};
axe.run(document, options).then(
  (results) => done(results.violations.map((each) => [
    each.id, each.nodes.map((node) => node.html.slice(0, 200)),
  ])),
  (error) => done([["error", [String(error)]]]),
);
"""


# What a page's width and colours decide about.
_LOOKS = ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]


def findings(browser: Browser, *, of_looks: bool = False) -> list[Any]:
    """
    Return what is wrong with the page that a browser shows: rules, and where.

    Args:
        browser: It shows the page.
        of_looks: Whether to ask only what the width and colours decide about, since
            the rest was asked before. It takes less time.
    """
    browser.stand_still()
    if not browser.driver.execute_script("return Boolean(window.axe)"):
        script = _script()
        if script is None:
            missing = "axe-core cannot be had: no npm, or it cannot fetch it"
            if os.environ.get("REQUIRE_AXE"):
                pytest.fail(missing)
            pytest.skip(missing)
        browser.driver.execute_script(script)
    browser.driver.set_script_timeout(_SECONDS)
    rules = _LOOKS if of_looks else None
    found: list[Any] = browser.driver.execute_async_script(_RUN, rules)
    return found


@cache
def _script() -> str | None:
    path = Path(tempfile.gettempdir()) / f"django_esdb_axe_core_{VERSION}.js"
    # Processes that run tests at once fetch it once.
    with FileLock(f"{path}.lock", timeout=2 * _SECONDS):
        if not _is_it(path) and not _fetch(path):
            return None
        return path.read_text(encoding="utf-8")


def _is_it(path: Path) -> bool:
    if not path.exists():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def _fetch(path: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(
                [npm, "pack", "--silent", f"axe-core@{VERSION}"],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=_SECONDS,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
        [package] = Path(folder).glob("*.tgz")
        with tarfile.open(package) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            path.write_bytes(member.read())
    assert _is_it(path), "npm has fetched another axe-core than the one named here"
    return True
