"""``python -m eventsourcing_eventstoredb.server``"""

from __future__ import annotations

import sys

from eventsourcing_eventstoredb.server.cli import main

if __name__ == "__main__":
    sys.exit(main())
