from __future__ import annotations

from eventsourcing_eventstoredb.server.services import private


def test_this_version_of_grpcio_is_known():
    assert private.HAS_INTERNALS
