"""
The embedded server with another disk, or with a transaction for each append.

    python -m benchmarks.support.disk_server [--ungrouped] [--sync-ms MS] ...

Further options are the server's own. A commit waits until the disk has it, which takes
from a few hundredths of a millisecond, where something between answers for the disk, to
ten and more. ``--sync-ms`` has each commit of the writer wait for so much longer, as it
would in SQLite's own wait: other threads continue, and nothing else is written.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from functools import partial
from typing import Any
from unittest.mock import patch

from eventsourcing_eventstoredb.server import cli
from eventsourcing_eventstoredb.server.storage import group_commit


class SlowToSync(sqlite3.Connection):
    """A connection whose writes take longer to reach the disk."""

    seconds = 0.0
    _writes = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            self._writes = True
        elif sql == "COMMIT" and self._writes:
            self._writes = False
            time.sleep(self.seconds)
        return super().execute(sql, *parameters)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ungrouped", action="store_true")
    parser.add_argument("--sync-ms", type=float, default=0.0)
    own, rest = parser.parse_known_args()
    if own.sync_ms:
        SlowToSync.seconds = own.sync_ms / 1e3
        sqlite3.connect = partial(sqlite3.connect, factory=SlowToSync)
    most = 1 if own.ungrouped else group_commit.MOST_AT_ONCE
    with patch.object(group_commit, "MOST_AT_ONCE", most):
        sys.exit(cli.main(rest))
