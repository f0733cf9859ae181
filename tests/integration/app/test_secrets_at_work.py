"""No secret shows while applications and projections run."""

from __future__ import annotations

import pprint
from typing import Any

from django_esdb import get_application
from django_esdb.conf import application_environment, build_env
from django_esdb.registry import Registration, registry
from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.connection_settings import (
    parse_connection,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.ciphers import NO_CIPHER

SECRET = "s3cret-w0rd"


def test_no_repr_shows_a_secret(
    settings: Any, server: EmbeddedServer, school_projection: Registration
) -> None:
    settings.ESDB_URI = server.uri.replace("://", f"://admin:{SECRET}@")
    settings.ESDB_PASSWORD = SECRET
    settings.ESDB_ENV = {"CIPHER_TOPIC": NO_CIPHER, "CIPHER_KEY": SECRET}
    school = get_application(TrainingSchool)
    factory = school.factory
    assert isinstance(factory, EventStoreDBFactory)
    secure = parse_connection(f"esdb://admin:{SECRET}@localhost")
    env = build_env()
    assert env["CIPHER_KEY"] == SECRET

    for shown in (
        school,
        factory,
        factory.settings,
        factory.client,
        school.recorder,
        school.mapper,
        secure,
        secure.client_uri,
        env,
        school_projection,
        school_projection.env(),
        registry,
    ):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
        assert SECRET not in pprint.pformat(shown)
    own = {**school.env}
    own.pop("EVENTSTOREDB_PASSWORD", None)
    assert SECRET not in repr(own)
    environment = application_environment(TrainingSchool)
    assert environment["EVENTSTOREDB_PASSWORD"] == SECRET
    assert SECRET not in repr({"PASSWORD": environment["EVENTSTOREDB_PASSWORD"]})
