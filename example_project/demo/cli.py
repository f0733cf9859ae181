"""The demo's command line."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from example_project.demo.children import ROOT
from example_project.demo.folder import Folder, FolderError
from example_project.demo.running import Demo, DemoError

EXIT_STATUSES = {
    "0": "stopped by a signal",
    "1": "a part has ended or could not be started",
    "2": "an option is wrong",
}
_PORT_NUMBERS = range(65536)


class StopSignals:
    """
    Takes the signals that end a program, and only notes them.

    Attributes:
        came: Whether one has come.
    """

    def __init__(self) -> None:
        self.came = False
        # Closing a terminal is SIGHUP, which not every system has.
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) in _PORT_NUMBERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number")
    return int(text)


def main() -> int:
    """
    Run the demo until a signal comes.

    Returns:
        The exit status: 0 when stopped by a signal, 1 when it could not continue.
    """
    signals = StopSignals()
    options = _parser().parse_args()
    try:
        with Folder(options.folder) as folder:
            Demo(
                folder,
                site_port=options.port,
                event_store_port=options.event_store_port,
                is_stopping=lambda: signals.came,
            ).run()
    except FolderError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except DemoError as error:
        sys.stderr.write(
            f"The demo has ended: {error}\n"
            f"Its data stays in {options.folder}; to start over, remove that folder.\n"
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project",
        description="Runs the example: event store, projections, web site.",
        epilog="Exit status: "
        + ", ".join(f"{key} {text}" for key, text in EXIT_STATUSES.items())
        + ".",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="Port of the web site, 0 for a free one (default: %(default)s).",
    )
    parser.add_argument(
        "--event-store-port",
        type=_port,
        default=2113,
        help="Port of the event store, 0 for a free one (default: %(default)s).",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / ".demo",
        help="Where the data lies (default: %(default)s).",
    )
    return parser
