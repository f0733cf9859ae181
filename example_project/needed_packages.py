"""What has to be installed for the example, asked before anything of it is imported."""

from __future__ import annotations

from importlib.util import find_spec

_MODULES = ("django", "environ", "eventsourcing", "filelock", "grpc", "regex", "rich")


def what_is_missing() -> str:
    """Return in one line what is not installed, and what to do; else an empty text."""
    missing = [module for module in _MODULES if find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"The example needs {', '.join(missing)}, not installed for this Python: "
        'run python -m pip install -e ".[demo]" in the checkout'
    )
