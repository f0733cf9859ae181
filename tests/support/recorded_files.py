"""Files of events that were recorded, to be loaded into an event store."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.running_stores import own_stream

_SNAPSHOTS = "snapshot-$"


def own_copy(server: object, file: Path, folder: Path) -> Path:
    """Copy a file into a folder, with names of streams that no other test has."""
    copy = folder / file.name
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["stream"] = _own_name(server, line["stream"])
    copy.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return copy


def _own_name(server: object, stream: str) -> str:
    """Return what a recorded stream is called in the test's store."""
    name = own_stream(server, stream.removeprefix(_SNAPSHOTS))
    return f"{_SNAPSHOTS}{name}" if stream.startswith(_SNAPSHOTS) else name
