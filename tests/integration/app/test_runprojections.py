"""What ``runprojections`` says when it cannot start."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from django_esdb.management.commands import _projections
from django_esdb.models import ProjectionTracking
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.models import Dog

SECRET = "s3cret-w0rd"


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


@pytest.mark.parametrize(
    "arguments", [[], ["--until-caught-up"]], ids=["continuing", "until caught up"]
)
@pytest.mark.parametrize(
    ("uri", "says", "status"),
    [
        ("", "ESDB_URI", 2),
        ("localhost:2113", "no scheme", 2),
        (f"http://admin:{SECRET}@localhost:2113", "unknown scheme", 2),
        (f"esdb://admin:{SECRET}@", "names no host", 2),
        (f"esdb://admin:{SECRET}@localhost:x", "no number where a port", 2),
        (f"esdb://admin:{SECRET}", "no number where a port", 2),
        (f"esdb://admin:?{SECRET}@localhost", "percent-encode", 2),
        (f"esdb://admin:#{SECRET}/localhost", "percent-encode", 2),
        (
            f"esdb://admin:{SECRET}@localhost?Tsl=false",
            "unknown field (did you mean Tls?)",
            2,
        ),
        ("esdb://localhost:2113", "needs a user name and a password", 2),
        (f"esdb://admin:{SECRET}@127.0.0.1:9?Tls=false", "127.0.0.1:9", 1),
        (f"esdb://admin:{SECRET}@127.0.0.1:9,127.0.0.1:10?Tls=false", "10", 1),
    ],
    ids=[
        "missing",
        "no scheme",
        "wrong scheme",
        "no host",
        "no port",
        "no host but credentials",
        "question mark in password",
        "hash in password",
        "unknown field",
        "no credentials",
        "unreachable",
        "cluster unreachable",
    ],
)
@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_bad_address_is_refused(
    settings: Any, uri: str, says: str, status: int, arguments: list[str]
) -> None:
    settings.ESDB_URI = uri
    settings.ESDB_RETRIES = 0
    output = StringIO()

    with pytest.raises(CommandError) as raised:
        call_command(
            "runprojections", "--wait=0", *arguments, stdout=output, stderr=output
        )

    error = str(raised.value)
    assert raised.value.returncode == status
    assert says in error
    assert "\n" not in error
    assert SECRET not in error + output.getvalue()
    positions = ProjectionTracking.objects.values_list("position", flat=True)
    assert set(positions) <= {None}
    assert not Dog.objects.exists()
