"""The library's store in memory, one for all applications of this process."""

from __future__ import annotations

from eventsourcing import popo
from eventsourcing.persistence import ApplicationRecorder

_recorders: list[ApplicationRecorder] = []


class Factory(popo.POPOFactory):
    def application_recorder(self) -> ApplicationRecorder:
        if not _recorders:
            _recorders.append(popo.POPOApplicationRecorder())
        return _recorders[0]


def forget() -> None:
    """Have the next application begin with an empty store."""
    _recorders.clear()
