"""Importing where a package is not installed."""

from __future__ import annotations

import subprocess
import sys

from tests.support.projects import ROOT


def import_without(package: str, module: str) -> str:
    """Import a module of ours without a package; return the last line of the error."""
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name: None if name == {package!r} else find(name)\n"
        f"import {module}\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    return result.stderr.splitlines()[-1]
