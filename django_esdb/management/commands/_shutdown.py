"""How long commands that run projections may take to stop."""

from __future__ import annotations

from argparse import ArgumentParser

from django_esdb.management.commands._projections import seconds
from django_esdb.runner.worker import SHUTDOWN_SECONDS


def add_shutdown_argument(parser: ArgumentParser) -> None:
    """Add the option that limits it."""
    parser.add_argument(
        "--shutdown-timeout",
        type=seconds,
        default=SHUTDOWN_SECONDS,
        metavar="SECONDS",
        help="Longest that stopping may take; then the batch under way is undone "
        "(default: %(default)g).",
    )
