"""``python -m example_project`` runs the demo."""

from __future__ import annotations

import sys

from example_project.needed_packages import what_is_missing


def main() -> int:
    """
    Run the demo until a signal comes.

    Returns:
        The exit status, of which ``demo.cli`` has the meanings.
    """
    missing = what_is_missing()
    if missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    # It imports what may be missing.
    from example_project.demo import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
