"""Events that are small in the store and large when they are decompressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from eventsourcing.utils import get_topic

from django_esdb import get_application
from django_esdb.applications.shared import close_applications, make_application
from django_esdb.conf import build_env
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.supervising import catch_up

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

BOMB = StoredEvent(
    Dog.create_id("Bomb"), 0, get_topic(Dog.Registered), zlib.compress(bytes(100_000))
)


@pytest.fixture(autouse=True)
def _compressed(settings: Any) -> None:
    settings.ESDB_ENV = {"COMPRESSOR_TOPIC": "zlib"}
    settings.ESDB_MAX_DECOMPRESSED = 1000


def test_one_that_becomes_too_large_follows_the_failure_policy(
    school: TrainingSchool, register: Callable[[OnFailure], Registration]
) -> None:
    school = get_application(TrainingSchool)
    school.recorder.insert_events([BOMB])
    school.register("Rex")

    catch_up(register(OnFailure.PARK))

    assert "larger than 1000 bytes when decompressed" in FailedEvent.objects.get().error
    assert DogRow.objects.get().name == "Rex"
    with pytest.raises(MapperDeserialisationError, match="larger than 1000 bytes"):
        school.repository.get(BOMB.originator_id)
    with pytest.raises(ValueError, match="raise ESDB_MAX_DECOMPRESSED"):
        school.register("x" * 2000)
    close_applications()


def test_other_stores_have_the_same_limit(settings: Any) -> None:
    env = {**build_env(), "PERSISTENCE_MODULE": "eventsourcing.popo"}
    school = make_application(TrainingSchool, env)
    school.recorder.insert_events([BOMB])

    with pytest.raises(MapperDeserialisationError, match="larger than 1000 bytes"):
        school.repository.get(BOMB.originator_id)
    school.close()
