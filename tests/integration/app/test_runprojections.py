"""What ``runprojections`` says when it cannot begin."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from django_esdb.management.commands import _projections
from eventsourcing_eventstoredb.server import EmbeddedServer


@pytest.mark.django_db
def test_a_database_that_is_lost_at_the_start_is_reported(
    settings: Any, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = server.uri

    def lost() -> list[Any]:
        raise OperationalError("server closed the connection\nunexpectedly")

    monkeypatch.setattr(_projections, "unregistered_rows", lost)

    with pytest.raises(CommandError, match="Cannot use a database: ") as raised:
        call_command("runprojections")

    assert raised.value.returncode == 1
    assert "\n" not in str(raised.value)
